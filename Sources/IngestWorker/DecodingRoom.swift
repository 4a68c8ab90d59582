// Limits the memory for decoded payloads, over all lanes of a worker. A few hundred bytes of gzip may decode to a MiB,
// and half a MiB to 64 MiB, so the limit of a claim (bytes as they were sent) doesn't limit this memory.
//
// A lane reserves room for the maximum decoded size of a body before it decodes it, and returns the unneeded part. It
// waits for room only while it has reserved none: otherwise two lanes could wait for each other. An uncompressed body
// needs no room, because it uses the claim's own bytes.
//
// Rejected: the size that a stream declares (gzip's is modulo 4 GiB, and a client can write any number); and a limit
// for each lane (a worker may have dozens of lanes, mostly idle).

internal import Synchronization

/// The room for decoded payloads, in bytes.
final class DecodingRoom: Sendable {
  private struct Waiter {
    let number: UInt64
    let bytes: Int
    let hasRoom: CheckedContinuation<Bool, Never>
  }

  private struct State {
    var left: Int
    var lastNumber: UInt64 = 0
    /// The longest-waiting one first.
    var waiters: [Waiter] = []
    /// Requests that were cancelled before they began to wait.
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
  /// Number of requests that wait for room.
  var waiting: Int { state.withLock { $0.waiters.count } }

  /// The room to reserve for a body of at most this size. For a body larger than the whole room it is the whole room.
  func charge(_ most: Int) -> Int { min(most, total) }

  /// Reserves room at once, if there is some and no other request waits.
  func takesNow(_ bytes: Int) -> Bool {
    state.withLock { state in
      guard state.waiters.isEmpty, state.left >= bytes else { return false }
      state.left -= bytes
      return true
    }
  }

  /// Reserves room as soon as there is some, in the order of the requests. A caller that has already reserved room must
  /// not call this.
  /// - Returns: False if the task was cancelled. Nothing is reserved then.
  func takes(_ bytes: Int) async -> Bool {
    let number = state.withLock { state in
      state.lastNumber += 1
      return state.lastNumber
    }
    // If the task was cancelled after it got room, nothing else removes its number.
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
      // The next waiting request may need less.
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
  /// Room for payloads that are tried while batches wait.
  let probes: DecodingRoom

  /// - Parameter bytes: The total of both. Two thirds are for batches.
  init(bytes: Int) {
    batches = DecodingRoom(bytes: max(bytes * 2 / 3, 1))
    probes = DecodingRoom(bytes: max(bytes / 3, 1))
  }
}
