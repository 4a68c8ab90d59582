// A claimed batch on its way through the sink: what has become of each of its entries, and which come next. A batch goes to the sink in pieces
// (mostly one), since what it has in memory once it is decoded is bounded. What no piece has reached when the worker ends goes back.

internal import Fleet
internal import IngestQueue
internal import KeyReplica

struct BatchWork {
  /// What the sink is given at one time.
  struct Piece {
    /// Of the batch's entries.
    var places: [Int] = []
    var deliveries: [Delivery] = []
    /// Taken of the room for decoded payloads, and to be given back.
    var room = 0
  }

  let batch: ClaimedBatch
  private(set) var fates: [Fate]
  private(set) var stored = 0
  private(set) var duplicates = 0
  private(set) var discarded = 0
  private(set) var setAside = 0
  /// The sink has left some untried: how long it asks to be left alone.
  private(set) var asksToWait: Duration?
  private var next = 0
  /// The only entries that the sink is given; nil where it is given all.
  private var chosen: Set<Int>?

  /// Of decoded payloads in one piece, in bytes: enough for one transaction, and lanes share the room.
  static let pieceBytes = 16 << 20
  static let longestRetryAfter = Duration.seconds(300)

  init(_ batch: ClaimedBatch) {
    self.batch = batch
    fates = Array(repeating: .putBack, count: batch.entries.count)
  }

  /// Gives the sink only some of the entries, of as many accounts as possible. Of the others those of some accounts are set aside.
  /// - Parameter accounts: Whose entries come last.
  init(_ batch: ClaimedBatch, choosing most: Int, besides accounts: Set<String>) {
    self.init(batch)
    // Each account's first one, then other accounts' further ones, then those of the accounts that come last.
    var ranks: [[Int]] = [[], [], []]
    var met: Set<String> = []
    for (place, entry) in batch.entries.enumerated() {
      guard let account = entry.account else {
        ranks[0].append(place)
        continue
      }
      if accounts.contains(account) {
        ranks[2].append(place)
        fates[place] = .setAside
      } else {
        ranks[met.insert(account).inserted ? 0 : 1].append(place)
      }
    }
    chosen = Set(ranks.joined().prefix(most))
    for place in chosen ?? [] { fates[place] = .putBack }
    setAside = fates.count { $0 == .setAside }
  }

  /// Whose entries are in the batch.
  var accounts: Set<String> { Set(batch.entries.compactMap(\.account)) }

  /// Whose entries the sink is given.
  var chosenAccounts: Set<String> { Set((chosen ?? []).compactMap { batch.entries[$0].account }) }

  /// Decodes what comes next, as much as there is room for.
  /// - Parameters:
  ///   - proofs: That keys are revoked whose payloads are to be discarded.
  ///   - room: Is waited for where the first body needs some.
  /// - Returns: Nil where nothing is left, or where the task is cancelled.
  mutating func nextPiece(
    _ decoding: BodyDecoding, discarding proofs: [String: Proof], in room: DecodingRoom
  ) async -> Piece? {
    var piece = Piece()
    while next < batch.entries.count, piece.room < Self.pieceBytes {
      let place = next
      if let chosen, !chosen.contains(place) {
        next += 1
        continue
      }
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
      let charge = room.charge(decoding.mostBytes(of: envelope))
      if charge > 0 {
        let hasRoom = piece.room == 0 ? await room.takes(charge) : room.takesNow(charge)
        guard hasRoom else { break }
      }
      next += 1
      do throws(UndecodableBody) {
        let body = try decoding.decode(envelope)
        let kept = body.undone == nil ? 0 : min(body.bytes.count, charge)
        room.giveBack(charge - kept)
        piece.room += kept
        piece.places.append(place)
        piece.deliveries.append(Delivery(header: envelope.header, body: body))
      } catch {
        room.giveBack(charge)
        fates[place] = .dead(reason: "\(error)")
      }
    }
    return piece.places.isEmpty ? nil : piece
  }

  /// Notes what became of a piece.
  /// - Parameter retryDelay: For an entry that has failed so often before.
  /// - Returns: Why payloads failed that come later, where they did.
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
      case .setAside:
        setAside += 1
        fates[place] = .setAside
      }
    }
    return trouble
  }
}

extension ClaimedEntry {
  /// Nil where it isn't an envelope.
  fileprivate var account: String? {
    if case .success(let envelope) = content { envelope.header.account } else { nil }
  }
}
