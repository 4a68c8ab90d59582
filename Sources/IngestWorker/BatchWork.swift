// A claimed batch on its way through the sink: the result of each of its entries, and the next ones. A batch goes to
// the sink in pieces (usually one), because memory for decoded payloads is limited. When the worker ends, entries that
// weren't in a piece return to the queue.
//
// Uncompressed payloads are first. Then accounts take turns, because decoding costs far more than the bytes in the
// queue suggest. Once an account has reached its limit of decoded bytes, its remaining payloads are set aside in its
// own lists, so that no account can occupy a lane for long.

internal import Fleet
internal import IngestQueue
internal import KeyReplica

struct BatchWork {
  /// The part of a batch that is given to the sink at one time.
  struct Piece {
    /// Indices of the batch's entries.
    var places: [Int] = []
    var deliveries: [Delivery] = []
    /// Bytes reserved in the room for decoded payloads. They must be returned.
    var room = 0
  }

  let batch: ClaimedBatch
  private(set) var fates: [Disposition]
  private(set) var stored = 0
  private(set) var duplicates = 0
  private(set) var discarded = 0
  /// The pause that the sink asked for, if it left entries untried.
  private(set) var asksToWait: Duration?
  /// The entries for the sink, in order, and how many of them were given to it.
  private var order: [Int]
  private var next = 0
  /// Bytes that were decoded so far, by account, including failed decoding.
  private var decoded: [String: Int] = [:]
  private let mostDecoded: Int
  /// Maximum decoded bytes of each entry's body; 0 if it isn't decoded.
  private let mostBytes: [Int]
  /// Entries that were given to the sink and not accepted.
  private var deferred: [Int] = []

  /// Maximum decoded bytes of one piece: enough for one transaction, and all lanes share the room.
  static let pieceBytes = 16 << 20
  /// Maximum decoded bytes of one account in a batch: in a batch with other accounts, and in a batch of its own.
  private static let mostDecoded = (beside: 16 << 20, alone: 64 << 20)
  /// A body of at most this decoded size isn't large. Any body may be decoded to a MiB.
  private static let largeBytes = 1 << 20
  static let longestRetryAfter = Duration.seconds(300)

  init(_ batch: ClaimedBatch, decoding: BodyDecoding) {
    self.batch = batch
    fates = Array(repeating: .putBack, count: batch.entries.count)
    mostBytes = batch.entries.map { entry in
      if case .success(let envelope) = entry.content { decoding.mostBytes(of: envelope) } else { 0 }
    }
    mostDecoded = batch.accounts.count > 1 ? Self.mostDecoded.beside : Self.mostDecoded.alone
    order = Self.byTurns(batch.entries, mostBytes)
  }

  private static func byTurns(_ entries: [ClaimedEntry], _ mostBytes: [Int]) -> [Int] {
    var plain: [Int] = []
    // By turns: the first compressed entry of each account, then the second ones, and so on. Entries that may be large
    // are last.
    var turns: [[Int]] = []
    var large: [Int] = []
    var met: [String: Int] = [:]
    for (place, entry) in entries.enumerated() {
      switch mostBytes[place] {
      case 0: plain.append(place)
      case ...largeBytes:
        let account = entry.account ?? ""
        let turn = met[account, default: 0]
        met[account] = turn + 1
        if turn == turns.count { turns.append([]) }
        turns[turn].append(place)
      default: large.append(place)
      }
    }
    return plain + turns.joined() + large
  }

  /// Gives the sink only some of the entries, of as many accounts as possible.
  /// - Parameter accounts: Accounts whose entries are set aside, unless there are no others.
  init(_ batch: ClaimedBatch, decoding: BodyDecoding, choosing most: Int, besides accounts: Set<String>) {
    self.init(batch, decoding: decoding)
    // The first entry of each account, and further ones.
    var ranks: [[Int]] = [[], []]
    var last: [Int] = []
    var met: Set<String> = []
    for place in order {
      guard let account = batch.entries[place].account else {
        ranks[0].append(place)
        continue
      }
      if accounts.contains(account) {
        last.append(place)
        fates[place] = .setAside
      } else {
        ranks[met.insert(account).inserted ? 0 : 1].append(place)
      }
    }
    let others = Array(ranks.joined())
    order = Array((others.isEmpty ? last : others).prefix(most))
    for place in order { fates[place] = .putBack }
  }

  /// The accounts whose entries are given to the sink.
  var givenAccounts: Set<String> { Set(order.compactMap { batch.entries[$0].account }) }

  /// Decodes the next entries, as many as there is room for.
  /// - Parameters:
  ///   - proofs: Proofs of revoked keys, whose payloads are to be discarded.
  ///   - room: If there is no room for the first body, this waits until there is.
  /// - Returns: Nil if nothing is left, or if the task is cancelled.
  mutating func nextPiece(
    _ decoding: BodyDecoding, discarding proofs: [String: Proof], in room: DecodingRoom
  ) async -> Piece? {
    var piece = Piece()
    while next < order.count, piece.room < Self.pieceBytes {
      let place = order[next]
      let envelope: Envelope
      switch batch.entries[place].content {
      case .success(let content): envelope = content
      case .failure(let error):
        fates[place] = .dead(reason: "\(error)")
        next += 1
        continue
      }
      if proofs[envelope.header.key] != nil {
        discarded += 1
        fates[place] = .done
        next += 1
        continue
      }
      let charge = room.charge(mostBytes[place])
      let account = envelope.header.account
      if charge > 0 {
        guard decoded[account, default: 0] < mostDecoded else {
          fates[place] = .setAside
          next += 1
          continue
        }
        let hasRoom = piece.room == 0 ? await room.takes(charge) : room.takesNow(charge)
        guard hasRoom else { break }
      }
      next += 1
      do throws(UndecodableBody) {
        let body = try decoding.decode(envelope)
        let kept = body.undone == nil ? 0 : min(body.bytes.count, charge)
        room.giveBack(charge - kept)
        piece.room += kept
        // If the body is stored undecoded, an attempt to decode it has failed and counts too.
        decoded[account, default: 0] += body.undone == nil ? charge : kept
        piece.places.append(place)
        piece.deliveries.append(Delivery(header: envelope.header, body: body))
      } catch {
        room.giveBack(charge)
        decoded[account, default: 0] += charge
        fates[place] = .dead(reason: "\(error)")
      }
    }
    return piece.places.isEmpty ? nil : piece
  }

  /// Whether all entries were given to the sink.
  var isLastPiece: Bool { next == order.count && deferred.isEmpty }

  /// Records that the sink didn't accept a piece. Other pieces are tried first.
  mutating func putOff(_ piece: Piece) { deferred += piece.places }

  /// Sets aside the entries that the sink didn't accept, without trying them again now.
  /// - Returns: Whether there are any.
  mutating func setAsideDeferred() -> Bool {
    for place in deferred { fates[place] = .setAside }
    defer { deferred = [] }
    return !deferred.isEmpty
  }

  /// Call it when all pieces were given to the sink. If the sink accepted any entry, rejected ones are retried later.
  /// If it accepted none, all are given to it again.
  /// - Parameter retryDelay: For an entry that has failed this often before.
  /// - Returns: Whether entries are to be given to the sink again.
  mutating func takeUpDeferred(_ retryDelay: (_ failures: Int) -> Duration) -> Bool {
    guard !deferred.isEmpty else { return false }
    defer { deferred = [] }
    guard stored + duplicates == 0 else {
      for place in deferred { fates[place] = .postpone(delay: retryDelay(batch.entries[place].failures)) }
      return false
    }
    order = deferred
    next = 0
    decoded = [:]
    return true
  }

  /// Records the results of a piece.
  /// - Parameter retryDelay: For an entry that has failed this often before.
  /// - Returns: The reason of a failure, if any payloads failed and will be retried.
  mutating func note(
    _ outcomes: [SinkOutcome], of piece: Piece, retryDelay: (_ failures: Int) -> Duration
  ) -> String? {
    var trouble: String?
    for (place, outcome) in zip(piece.places, outcomes) {
      let failures = batch.entries[place].failures
      switch outcome {
      case .stored:
        stored += 1
        fates[place] = .done
      case .duplicate:
        duplicates += 1
        fates[place] = .done
      case .failed(let reason, retryable: true):
        fates[place] = .retry(reason: reason, delay: retryDelay(failures))
      case .failed(let reason, retryable: false): fates[place] = .dead(reason: reason)
      case .postponed(let why):
        let pause = why.failures == 0 ? .zero : retryDelay(max(failures, why.failures - 1))
        let delay = max(pause, min(why.after, Self.longestRetryAfter))
        fates[place] = why.isCounted ? .retry(reason: why.reason, delay: delay) : .postpone(delay: delay)
        if why.failures > 0 { trouble = why.reason }
      case .untried(let retryAfter):
        fates[place] = .putBack
        asksToWait = max(asksToWait ?? .zero, retryAfter ?? .zero)
      case .setAside: fates[place] = .setAside
      }
    }
    return trouble
  }
}

extension ClaimedEntry {
  /// Nil if it isn't an envelope.
  fileprivate var account: String? {
    if case .success(let envelope) = content { envelope.header.account } else { nil }
  }
}

extension ClaimedBatch {
  /// The accounts of the batch's entries.
  var accounts: Set<String> { Set(entries.lazy.compactMap(\.account)) }

  /// Whether all entries are envelopes of these accounts.
  func isOf(_ accounts: Set<String>) -> Bool {
    entries.allSatisfy { entry in entry.account.map { accounts.contains($0) } ?? false }
  }

  /// Bytes of all payloads, as they were sent.
  var bytes: Int {
    entries.reduce(0) { sum, entry in
      if case .success(let envelope) = entry.content { sum + envelope.payload.count } else { sum }
    }
  }
}
