// A follower makes the store equal to its source, so a change by hand lasts only until the follower's next comparison.
// Whoever revokes a leaked key in the store must not believe that it stays revoked.

import Hiredis
import KeyStore
import RedisClient

/// The follower that is going to undo changes by hand; nil if none is active.
/// - Throws: If Redis can't be reached, or the slot of the keys is moving. Then the change would fail as well.
func activeFollower(_ connection: RedisConnection, _ layout: StoreLayout) async throws -> String? {
  do {
    let holder = try await ListLease.holder(connection, layout)
    return holder.flatMap { $0.name.hasPrefix(Follow.leaseName) ? $0.name : nil }
  } catch let error as RedisServerError where !error.isOfMovingSlot {
    complain("unknown whether a follower is going to undo this change: \(error)")
    return nil
  }
}

/// Warns after a change that an active follower is going to undo.
func warn(of follower: String) {
  complain(
    "this change doesn't last: \(follower) keeps the store equal to its source, and undoes the change within seconds "
      + "unless the source says the same. Change the key in the source. If you can't, stop all followers, and run this "
      + "command again")
}
