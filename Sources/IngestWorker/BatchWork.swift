// A claimed batch on its way through the sink: what has become of each of its entries, and which come next. A batch goes to the sink in pieces
// (mostly one), since what it has in memory once it is decoded is bounded. What no piece has reached when the worker ends goes back.
//
// What isn't compressed comes first, and then accounts have turns: decoding costs far more than its bytes in the queue show. What an account has left once a
// good deal of its payloads has been decoded is set aside in that account's own lists, so that no account can keep a lane for long.

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
  private(set) var fates: [Disposition]
  private(set) var stored = 0
  private(set) var duplicates = 0
  private(set) var discarded = 0
  /// The sink has left some untried: how long it asks to be left alone.
  private(set) var asksToWait: Duration?
  /// The entries that the sink is given, in that order, and how many of them it was given.
  private var order: [Int]
  private var next = 0
  /// Bytes that were decoded so far, of each account; in vain as well.
  private var decoded: [String: Int] = [:]
  private let mostDecoded: Int
  /// What may come out of each entry's body; 0 where it stays as it is.
  private let mostBytes: [Int]
  /// Given to the sink, which didn't take them.
  private var deferred: [Int] = []

  /// Of decoded payloads in one piece, in bytes: enough for one transaction, and lanes share the room.
  static let pieceBytes = 16 << 20
  /// Of an account in a batch, where the batch has others' too, or not.
  private static let mostDecoded = (beside: 16 << 20, alone: 64 << 20)
  /// What may come out of a body that isn't large. A MiB may come out of any.
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
    // By turn: the first compressed one of each account, the second one, and so on. Those that may be large come last.
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
  /// - Parameter accounts: Whose entries are set aside, unless there are no others.
  init(_ batch: ClaimedBatch, decoding: BodyDecoding, choosing most: Int, besides accounts: Set<String>) {
    self.init(batch, decoding: decoding)
    // Each account's first one, and their further ones.
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

  /// Whose entries the sink is given.
  var givenAccounts: Set<String> { Set(order.compactMap { batch.entries[$0].account }) }

  /// Decodes what comes next, as much as there is room for.
  /// - Parameters:
  ///   - proofs: That keys are revoked whose payloads are to be discarded.
  ///   - room: Is waited for where the first body needs some.
  /// - Returns: Nil where nothing is left, or where the task is cancelled.
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
        // Where it is stored as it is, decoding was tried in vain.
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

  /// Whether nothing has been given to the sink that isn't settled, and nothing is left to be given.
  var isLastPiece: Bool { next == order.count && deferred.isEmpty }

  /// The sink didn't take a piece, and others are to be given first.
  mutating func putOff(_ piece: Piece) { deferred += piece.places }

  /// To be called when all pieces have been given. Where the sink took any, what it didn't take comes later. Where it took none, all is given again.
  /// - Parameter retryDelay: For an entry that has failed so often before.
  /// - Returns: Whether there is something to be given again.
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
      case .setAside: fates[place] = .setAside
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

extension ClaimedBatch {
  /// Whose entries are in the batch.
  var accounts: Set<String> { Set(entries.lazy.compactMap(\.account)) }

  /// Whether all entries are envelopes of these accounts.
  func isOf(_ accounts: Set<String>) -> Bool {
    entries.allSatisfy { entry in entry.account.map { accounts.contains($0) } ?? false }
  }

  /// Of all payloads, as they were sent.
  var bytes: Int {
    entries.reduce(0) { sum, entry in
      if case .success(let envelope) = entry.content { sum + envelope.payload.count } else { sum }
    }
  }
}
