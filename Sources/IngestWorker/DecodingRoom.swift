// Limits the memory for decoded payloads, over all lanes of a worker. A few hundred bytes of gzip may be a MiB of
// payload and half a MiB may be 64, so the limit of a claim (bytes as they were sent) doesn't limit this.
//
// A lane reserves room for the maximum decoded size of a body before it decodes it, and returns the unneeded part. It
// waits for room only while it holds none: otherwise two lanes could wait for each other. An uncompressed body takes no
// room, because its bytes are the claim's own.
//
// Rejected: the size that a stream announces (gzip's is modulo 4 GiB, and a client can write any number); and a limit
// for each lane (a worker may have dozens, mostly idle).

internal import Synchronization

/// Room for decoded payloads, in bytes.
final class DecodingRoom: Sendable {
  private struct Waiter {
    let number: UInt64
    let bytes: Int
    let hasRoom: CheckedContinuation<Bool, Never>
  }

  private struct State {
    var left: Int
    var lastNumber: UInt64 = 0
    /// The one that has waited longest first.
    var waiters: [Waiter] = []
    /// Cancelled before they began to wait.
    var cancelled: Set<UInt64> = []
  }

  private let total: Int
  private let state: Mutex<State>

  init(bytes: Int) {
    precondition(bytes > 0, "no room for payloads: \(bytes) bytes")
    total = bytes
    state = Mutex(State(left: bytes))
  }

  /// The free room.
  var left: Int { state.withLock { $0.left } }
  /// How many wait for room.
  var waiting: Int { state.withLock { $0.waiters.count } }

  /// The room to reserve for a body of at most this size. A body larger than all of the room reserves all of it.
  func charge(_ most: Int) -> Int { min(most, total) }

  /// Reserves room at once, if there is some and nobody waits for it.
  func takesNow(_ bytes: Int) -> Bool {
    state.withLock { state in
      guard state.waiters.isEmpty, state.left >= bytes else { return false }
      state.left -= bytes
      return true
    }
  }

  /// Reserves room as soon as there is some, in the order of the requests. A caller that already holds some must not
  /// ask.
  /// - Returns: False if the task was cancelled. Nothing is reserved then.
  func takes(_ bytes: Int) async -> Bool {
    let number = state.withLock { state in
      state.lastNumber += 1
      return state.lastNumber
    }
    // Cancelled when it had room already: nobody asks for that number again.
    defer { state.withLock { _ = $0.cancelled.remove(number) } }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { hasRoom in
        let isDecided = state.withLock { state -> Bool? in
          if state.cancelled.remove(number) != nil { return false }
          if state.waiters.isEmpty, state.left >= bytes {
            state.left -= bytes
            return true
          }
          state.waiters.append(Waiter(number: number, bytes: bytes, hasRoom: hasRoom))
          return nil
        }
        if let isDecided { hasRoom.resume(returning: isDecided) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> Waiter? in
        if let place = state.waiters.firstIndex(where: { $0.number == number }) {
          return state.waiters.remove(at: place)
        }
        state.cancelled.insert(number)
        return nil
      }
      waiter?.hasRoom.resume(returning: false)
      // The next one in the queue may need less.
      giveBack(0)
    }
  }

  func giveBack(_ bytes: Int) {
    let served = state.withLock { state in
      state.left += bytes
      var served: [Waiter] = []
      while let next = state.waiters.first, state.left >= next.bytes {
        state.left -= next.bytes
        served.append(state.waiters.removeFirst())
      }
      return served
    }
    for waiter in served { waiter.hasRoom.resume(returning: true) }
  }
}

/// The room that the lanes of a worker share.
struct WorkerRoom: Sendable {
  let batches: DecodingRoom
  /// For payloads that are tried beside waiting batches.
  let probes: DecodingRoom

  /// - Parameter bytes: For both together. Two thirds are for batches.
  init(bytes: Int) {
    batches = DecodingRoom(bytes: max(bytes * 2 / 3, 1))
    probes = DecodingRoom(bytes: max(bytes / 3, 1))
  }
}
