import Hiredis
import Logging
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

/// A watch and a producer on real Redis servers, one shard on each.
struct QueueWatchTests {
  /// What a test has in hand.
  private struct Watched: Sendable {
    let servers: [RedisServer]
    let producer: QueueProducer
    let watch: QueueWatch
    /// A connection to each server, to inspect it and change its settings.
    let clients: [RedisClient]
    let ended: EventLoopFuture<Void>

    func layout(_ shard: Int) -> QueueLayout { QueueLayout(shard: shard) }

    /// How one payload fares; nil if it was taken.
    func push(_ number: Int = 0, _ size: Int = 1, account: String? = nil) async throws -> EnqueueError? {
      var header = EnvelopeHeader.numbered(number)
      if let account { header.account = account }
      do {
        try await producer.submit(header, payload: ByteBuffer(repeating: 7, count: size)).get()
        return nil
      } catch let failure as EnqueueError {
        return failure
      }
    }

    /// Until it says what is expected.
    func eventuallyPushes(_ what: String, _ isExpected: (EnqueueError?) -> Bool) async throws {
      try await eventually(within: .seconds(20), what) { isExpected(try await push()) }
    }

    func counters() async throws -> ProducerCounters {
      try await producer.eventLoop.submit { producer.counters }.get()
    }

    func length(_ shard: Int) async throws -> Int64 {
      try await clients[shard].execute(layout(shard).pending.map { RedisCommand("LLEN", $0) })
        .reduce(0) { try $0 + $1.integer() }
    }
  }

  private func with(
    _ options: [RedisServerOptions] = [RedisServerOptions()], limits: QueueLimits = QueueLimits(),
    producer producerLimits: ProducerLimits = ProducerLimits(), requirement: DurabilityRequirement = .none,
    areAcknowledged: Bool = false, _ body: (Watched) async throws -> Void
  ) async throws {
    var servers: [RedisServer] = []
    for option in options { servers.append(try await RedisServer.start(option)) }
    func clients(on loop: any EventLoop) -> [RedisClient] {
      servers.map {
        RedisClient(
          endpoint: $0.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)), on: loop,
          logger: .silent)
      }
    }
    func shards(_ clients: [RedisClient]) -> [QueueProducer.Shard] {
      clients.enumerated().map { QueueProducer.Shard(client: $1, layout: QueueLayout(shard: $0)) }
    }
    // Each on a loop of its own, where there is more than one.
    let watching = clients(on: singletonLoop)
    let pushing = clients(on: singletonLoop)
    let looking = clients(on: singletonLoop)
    for client in watching + pushing + looking { _ = try await client.connection(within: .seconds(5)).get() }
    let watch = QueueWatch(
      shards: shards(watching), limits: limits, requirement: requirement,
      timing: QueueWatch.Timing(pause: .milliseconds(20), deadline: .milliseconds(300), staleAfter: .milliseconds(600)),
      logger: .silent)
    let producer = QueueProducer(
      shards: shards(pushing), limits: producerLimits, watch: watch, areAcknowledged: areAcknowledged)
    let ended = watch.start()
    // Before that nothing is limited: the first pushes would be counted or not, as it happens.
    try await eventually("all shards have been read") {
      try await watch.standings().get().allSatisfy { $0.reading != nil }
    }
    try await body(
      Watched(servers: servers, producer: producer, watch: watch, clients: looking, ended: ended))
    watch.stop()
    for client in watching + pushing + looking { try await client.shutDown().get() }
    for server in servers where server.pid != nil { try await server.kill9() }
  }

  private func isOverLimit(_ failure: EnqueueError?) -> Bool {
    if case .overLimit = failure { true } else { false }
  }

  private func isTold(_ failure: EnqueueError?) -> Bool {
    if case .tooManyDeadLetters = failure { true } else { false }
  }

  private func isLost(_ failure: EnqueueError?) -> Bool {
    if case .durabilityLost = failure { true } else { false }
  }

  // MARK: Lists

  @Test func `once list 0 is long each account keeps to its two lists, and to list 0 when it is short again`()
    async throws
  {
    try await with { queue async throws in
      let layout = queue.layout(0)
      let client = queue.clients[0]
      func lengths() async throws -> [Int64] {
        try await client.execute(layout.pending.map { RedisCommand("LLEN", $0) }).map { try $0.integer() }
      }
      _ = try await client.execute(
        RedisCommand("LPUSH", arguments: [layout.pending(0)] + (0..<1_000).map { _ in "old" })
      ).integer()
      let hand = AccountShuffleShard(account: EnvelopeHeader.plain.account)
      try await eventually("the producer knows") {
        _ = try await queue.push()
        let lengths = try await lengths()
        return lengths[hand.first] + lengths[hand.second] > 0
      }
      let before = try await lengths()
      for number in 0..<20 { #expect(try await queue.push(number) == nil) }
      let after = try await lengths()
      #expect(after.reduce(0, +) == before.reduce(0, +) + 20)
      #expect(after[hand.first] + after[hand.second] == before[hand.first] + before[hand.second] + 20)
      // The shorter as last heard: they stay level.
      #expect(abs(after[hand.first] - after[hand.second]) <= 1, "\(after)")
      _ = try await client.execute(RedisCommand("DEL", layout.pending(0))).integer()
      try await eventually("list 0 is used again") {
        _ = try await queue.push()
        return try await lengths()[0] > 0
      }
    }
  }

  @Test func `a list that can't be pushed to fails its own payloads, and the others of the same write are taken`()
    async throws
  {
    try await with { queue async throws in
      let layout = queue.layout(0)
      let client = queue.clients[0]
      _ = try await client.execute(
        RedisCommand("LPUSH", arguments: [layout.pending(0)] + (0..<1_000).map { _ in "old" })
      ).integer()
      let broken = AccountShuffleShard(account: "broken")
      let sound = try #require(
        (0..<1_000).map { "account-\($0)" }.first {
          let hand = AccountShuffleShard(account: $0)
          return Set([hand.first, hand.second]).isDisjoint(with: [broken.first, broken.second])
        })
      for list in [broken.first, broken.second] {
        try await client.execute(RedisCommand("SET", layout.pending(list), "not a list")).ok()
      }
      let (loop, producer) = (queue.producer.eventLoop, queue.producer)
      func outcomes() async throws -> [Result<Void, any Error>] {
        try await loop.flatSubmit {
          EventLoopFuture.whenAllComplete(
            (0..<10).map { number in
              var header = EnvelopeHeader.numbered(number)
              header.account = number % 2 == 0 ? "broken" : sound
              return producer.submit(header, payload: ByteBuffer())
            }, on: loop)
        }.get()
      }
      // The watch can't read such a list either: it is the replies that tell. Before they do all goes to list 0.
      var last: [Result<Void, any Error>] = []
      try await eventually("the two accounts are told apart") {
        last = try await outcomes()
        return last.contains { (try? $0.get()) == nil }
      }
      for (number, outcome) in last.enumerated() {
        switch outcome {
        case .success: #expect(number % 2 == 1)
        case .failure(EnqueueError.refused(let error)): #expect(number % 2 == 0 && error.code == "WRONGTYPE")
        case .failure(let error): Issue.record("\(error)")
        }
      }
      let counters = try await queue.counters()
      #expect(counters.commands > counters.batches)
    }
  }

  // MARK: Limits

  @Test func `over the limit of entries pushes are refused, and taken again under the low-water mark`() async throws {
    try await with(limits: QueueLimits(entries: 100, lowWaterPercent: 50)) { queue async throws in
      let list = queue.layout(0).pending(0)
      for number in 0..<100 { #expect(try await queue.push(number) == nil) }
      // The last reply said so, or a reading between.
      #expect(isOverLimit(try await queue.push()))
      #expect(try await queue.length(0) == 100)
      // Between the marks nothing changes, however often it is read.
      try await queue.clients[0].execute(RedisCommand("LTRIM", list, 0, 69)).ok()
      let reads = try await readings(queue, 5)
      #expect(reads.allSatisfy { $0.admission.shutFor == .entries })
      guard case .overLimit(let seconds) = try await queue.push() else {
        Issue.record("it opened between the marks")
        return
      }
      #expect((1...60).contains(seconds))
      try await queue.clients[0].execute(RedisCommand("LTRIM", list, 0, 48)).ok()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
      #expect(try await queue.counters().entries == 101)
    }
  }

  /// So many readings that follow each other.
  private func readings(_ queue: Watched, _ count: Int) async throws -> [ShardStanding] {
    var standings: [ShardStanding] = []
    while standings.count < count {
      var age = TimeAmount.seconds(0)
      try await eventually("another reading") {
        let standing = try #require(try await queue.watch.standings().get().first)
        guard let next = standing.age, !standing.isStale else { return false }
        defer { age = next }
        if next < age { standings.append(standing) }
        return next < age
      }
    }
    return standings
  }

  @Test func `no more than what is in flight comes in beyond the limit, however fast it comes`() async throws {
    let limits = ProducerLimits(entriesPerBatch: 10)
    try await with(limits: QueueLimits(entries: 100), producer: limits) { queue async throws in
      let loop = queue.producer.eventLoop
      let (producer, payload) = (queue.producer, ByteBuffer(string: "x"))
      // All in one turn of the event loop, before any reply can arrive.
      let outcomes = try await loop.flatSubmit {
        EventLoopFuture.whenAllComplete((0..<5_000).map { producer.submit(.numbered($0), payload: payload) }, on: loop)
      }.get()
      let taken = outcomes.count { (try? $0.get()) != nil }
      // Two batches may be in flight when a reply tells that the mark is reached.
      #expect((100...120).contains(taken), "\(taken)")
      #expect(try await queue.length(0) == Int64(taken))
      for outcome in outcomes.suffix(100) {
        guard case .failure(EnqueueError.overLimit) = outcome else {
          Issue.record("\(outcome)")
          return
        }
      }
    }
  }

  @Test func `bytes have a limit of their own, and what is huge is in it at once`() async throws {
    try await with(limits: QueueLimits(bytes: 4 << 20)) { queue async throws in
      for number in 0..<4 { #expect(try await queue.push(number, 1 << 20) == nil) }
      // Mostly at once; a reading that was under way may not have seen the last of them.
      try await queue.eventuallyPushes("it is full") { isOverLimit($0) }
      #expect(try await queue.counters().entries < 20)
      try await eventually("the watch sees it as well") {
        try await queue.watch.standings().get()[0].admission.shutFor == .bytes
      }
      _ = try await queue.clients[0].execute(RedisCommand("DEL", arguments: queue.layout(0).pending)).integer()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
    }
  }

  /// A worker that takes nothing: with its first look the bytes are counted.
  private func beginCounting(_ queue: Watched) async throws {
    let worker = QueueConsumer(client: queue.clients[0], worker: try #require(WorkerName("worker")))
    guard case .empty = try await worker.claim(slot: 0, takesSuspects: false) else {
      throw Unexpected(description: "the queue isn't empty at the beginning")
    }
  }

  private func bytesThatWait(_ queue: Watched) async throws -> Int64 {
    let lists = try await queue.clients[0].execute(
      queue.layout(0).pending.map { RedisCommand("LRANGE", $0, 0, -1) }, within: .seconds(60))
    return try lists.reduce(0) { sum, list in try list.array().reduce(sum) { try $0 + Int64($1.bytes().count) + 16 } }
  }

  @Test func `large payloads behind small ones count in full`() async throws {
    let limit = 32 << 20
    try await with(limits: QueueLimits(bytes: limit)) { queue async throws in
      try await beginCounting(queue)
      var (number, refusal) = (0, EnqueueError?.none)
      // Use many accounts: a single one would reach its own limit first.
      func push(_ size: Int) async throws {
        number += 1
        refusal = try await queue.push(number, size, account: "account-\(number % 50)")
      }
      for _ in 0..<150 { try await push(100_000) }
      #expect(refusal == nil)
      // Enough that all of Redis's samples are of these.
      for _ in 0..<2_000 { try await push(1_000) }
      #expect(refusal == nil)
      let counted = try await readings(queue, 2)[1].reading?.bytes ?? 0
      let waiting = try await bytesThatWait(queue)
      #expect(abs(counted - waiting) < waiting / 10, "\(counted) of \(waiting)")
      while refusal == nil, number < 6_000 {
        try await push(100_000)
        for _ in 0..<5 where refusal == nil { try await push(1_000) }
      }
      #expect(isOverLimit(refusal), "\(String(describing: refusal))")
      let full = try await bytesThatWait(queue)
      #expect((Int64(limit) * 9 / 10...Int64(limit) * 11 / 10).contains(full), "\(full) of \(limit)")
    }
  }

  @Test func `a large payload before thousands of small ones shuts nobody out`() async throws {
    try await with(limits: QueueLimits(bytes: 64 << 20)) { queue async throws in
      try await beginCounting(queue)
      // Else what Redis has in all would bound it.
      try await queue.clients[0].execute(RedisCommand("SET", "other", String(repeating: "x", count: 150 << 20))).ok()
      for number in 0..<5_000 { #expect(try await queue.push(number, 1_000, account: "account-\(number % 50)") == nil) }
      for number in 0..<2 {
        #expect(try await queue.push(number, 4 << 20, account: "large") == nil)
        for number in 0..<10 { #expect(try await queue.push(number, 1_000, account: "account-\(number)") == nil) }
      }
      let standing = try await readings(queue, 2)[1]
      let waiting = try await bytesThatWait(queue)
      let counted = standing.reading?.bytes ?? 0
      #expect(abs(counted - waiting) < waiting / 10, "\(counted) of \(waiting)")
      #expect(standing.admission.shutFor == nil)
      #expect(try await queue.push(0, account: "large") == nil)
    }
  }

  @Test func `where Redis refuses to count bytes its estimate holds the limit`() async throws {
    let options = RedisServerOptions { $0.users = ["default on nopass ~* &* +@all"] }
    try await with([options], limits: QueueLimits(bytes: 4 << 20)) { queue async throws in
      try await beginCounting(queue)
      try await queue.clients[0].execute(RedisCommand("ACL", "SETUSER", "default", "-hincrby")).ok()
      var number = 0
      try await eventually("it is full") {
        number += 1
        // Small enough for list 0.
        return isOverLimit(try await queue.push(number, 60_000, account: "account-\(number % 30)"))
      }
      // Each loop knows its own bytes until the next reading: it is the reading that has to say so.
      try await eventually("the watch sees it") {
        try await queue.watch.standings().get()[0].admission.shutFor == .bytes
      }
      try await queue.clients[0].execute(RedisCommand("ACL", "SETUSER", "default", "+hincrby")).ok()
      try await eventually("what was pushed is counted") {
        let counted = try await queue.clients[0].execute(RedisCommand("HGET", queue.layout(0).bytes, 0)).string()
        return try await Int64(counted) == self.bytesThatWait(queue) - 16 * queue.length(0)
      }
    }
  }

  @Test(arguments: [(entries: 1_000, bytes: 1 << 30, size: 1), (entries: 1_000_000, bytes: 32 << 20, size: 1 << 20)])
  func `who fills the queue is told so at four fifths, and others are taken`(
    entries: Int, bytes: Int, size: Int
  ) async throws {
    try await with(limits: QueueLimits(entries: entries, bytes: bytes)) { queue async throws in
      var other = EnvelopeHeader.plain
      other.account = "other"
      var (taken, refusal) = (0, EnqueueError?.none)
      while refusal == nil, taken < 2_000 {
        refusal = try await queue.push(taken, size)
        if refusal == nil { taken += 1 }
      }
      guard case .accountOverLimit(let seconds) = refusal else {
        Issue.record("\(taken) were taken, then: \(String(describing: refusal))")
        return
      }
      #expect((1...60).contains(seconds))
      // Redis's allocator rounds a payload of 1 MiB up by up to a quarter.
      let full = size == 1 ? entries : bytes / size
      #expect((full * 6 / 10...full * 85 / 100).contains(taken), "\(taken) of \(full)")
      for _ in 0..<20 { try await queue.producer.submit(other, payload: ByteBuffer(string: "x")).get() }
      // Once there is room again it is taken again.
      let lists = queue.layout(0).pending
      _ = try await queue.clients[0].execute(RedisCommand("DEL", arguments: lists)).integer()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
    }
  }

  /// Five customers are few: each sends an eighth of all, and isn't who fills the queue. No worker takes anything.
  @Test(arguments: [
    (entries: 20_000, bytes: 1 << 30, flood: 1, size: 1),
    (entries: 1_000_000, bytes: 64 << 20, flood: 1 << 20, size: 8_000),
  ])
  func `who fills the queue is told so, and a few customers of equal rates are taken until it is full`(
    entries: Int, bytes: Int, flood: Int, size: Int
  ) async throws {
    try await with(limits: QueueLimits(entries: entries, bytes: bytes)) { queue async throws in
      let hand = AccountShuffleShard(account: "flood")
      let customers = (0..<1_000).map { "customer-\($0)" }.filter {
        let other = AccountShuffleShard(account: $0)
        return Set([other.first, other.second]) != Set([hand.first, hand.second])
      }.prefix(5)
      let (loop, producer) = (queue.producer.eventLoop, queue.producer)
      /// One payload of each, all in one turn of the event loop.
      func push(_ accounts: [String], _ size: Int) async throws -> [EnqueueError?] {
        let payload = ByteBuffer(repeating: 7, count: size)
        return try await loop.flatSubmit {
          EventLoopFuture.whenAllComplete(
            accounts.map { account in
              var header = EnvelopeHeader.plain
              header.account = account
              return producer.submit(header, payload: payload)
            }, on: loop)
        }.get().map { result in
          switch result {
          case .success: nil
          case .failure(let failure as EnqueueError): failure
          case .failure(let error): throw error
          }
        }
      }
      func isAccounts(_ failure: EnqueueError?) -> Bool {
        if case .accountOverLimit = failure { true } else { false }
      }
      var told = false
      while !told {
        let failures = try await push(Array(repeating: "flood", count: flood > 1 ? 1 : 500), flood)
        told = failures.contains(where: isAccounts)
        let others = failures.filter { $0 != nil && !isAccounts($0) }
        guard others.isEmpty else {
          Issue.record("it was refused otherwise: \(others)")
          return
        }
      }
      // The flood continues for a while and ends. When the queue is read, its payloads turn out to be smaller than
      // estimated, and a few more are accepted.
      var (taken, more) = (0, 0)
      var refusal: EnqueueError?
      while refusal == nil, taken < entries {
        if taken < 1_000 {
          let failures = try await push(["flood"], flood)
          #expect(failures.allSatisfy { $0 == nil || isAccounts($0) }, "\(failures)")
          more += failures.count { $0 == nil }
        }
        let failures = try await push(Array(customers), size)
        taken += failures.count { $0 == nil }
        refusal = failures.compactMap(\.self).first
      }
      #expect(more <= 10)
      #expect(isOverLimit(refusal), "after \(taken) of customers: \(String(describing: refusal))")
      // What was kept for them, a fifth, and some of it was on its way.
      let whole = min(entries, bytes / max(size, 50))
      #expect(taken > whole / 8, "\(taken) of \(whole)")
    }
  }

  @Test func `what a spool gives back fills no more than half of the queue, and others' is taken then as well`()
    async throws
  {
    try await with(limits: QueueLimits(entries: 1_000), areAcknowledged: true) { queue async throws in
      var (taken, refusal) = (0, EnqueueError?.none)
      while refusal == nil, taken < 1_000 {
        refusal = try await queue.push(taken)
        if refusal == nil { taken += 1 }
      }
      guard case .accountOverLimit = refusal else {
        Issue.record("\(taken) were taken, then: \(String(describing: refusal))")
        return
      }
      #expect((450...550).contains(taken), "\(taken)")
      for number in 0..<20 { #expect(try await queue.push(taken + number, account: "other") == nil) }
    }
  }

  @Test func `who has too many dead letters is told so, others are taken, and both once they are dealt with`()
    async throws
  {
    try await with(limits: QueueLimits(bytes: 16 << 20)) { queue async throws in
      let client = queue.clients[0]
      let worker = QueueConsumer(client: client, worker: try #require(WorkerName("worker")), limits: ConsumerLimits())
      // Each payload that is taken becomes a dead letter.
      func push(_ number: Int, account: String) async throws -> EnqueueError? {
        let failure = try await queue.push(number, 100_000, account: account)
        guard failure == nil else { return failure }
        guard case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true) else {
          throw Unexpected(description: "a payload was taken and isn't there")
        }
        _ = try await worker.settle(batch, batch.entries.map { _ in .dead(reason: "no") })
        return nil
      }
      var number = 0
      var refusal: EnqueueError?
      try await eventually("it is told") {
        number += 1
        refusal = try await push(number, account: "disliked")
        return refusal != nil
      }
      guard case .tooManyDeadLetters(let seconds) = refusal else {
        Issue.record("\(String(describing: refusal))")
        return
      }
      #expect((48...60).contains(seconds), "\(seconds)")
      let quota = try #require(try await queue.watch.standings().get().first).admission.deadLetters
      #expect(Array(quota.told.keys) == ["disliked"] && quota.room == 16 << 20)
      #expect((quota.limit...(16 << 20)).contains(try #require(quota.told["disliked"])))
      // Somebody else may have a dead letter as well.
      #expect(try await push(number + 1, account: "other") == nil)
      #expect(isTold(try await push(number + 2, account: "disliked")))

      let letters = DeadLetters(client: client)
      var tally = DeadLetterTally()
      try await letters.discard(DeadLetterFilter(account: "disliked"), tally: &tally)
      try await eventually("it is taken again") { try await queue.push(0, 10, account: "disliked") == nil }
    }
  }

  @Test func `what was acknowledged before is taken also from who has too many dead letters`() async throws {
    try await with(limits: QueueLimits(bytes: 16 << 10)) { queue async throws in
      let account = EnvelopeHeader.plain.account
      _ = try await queue.clients[0].execute(
        [
          RedisCommand("XADD", queue.layout(0).dead, "*", "by", "hand"),
          RedisCommand("ZADD", queue.layout(0).deadBytes, 16 << 10, "of:\(account)", 16 << 10, "all"),
        ])
      try await queue.eventuallyPushes("it is told") { isTold($0) }
      let owed = QueueProducer(
        shards: [QueueProducer.Shard(client: queue.clients[0], layout: queue.layout(0))], watch: queue.watch,
        areAcknowledged: true)
      // Its lanes learn of the account as the others did; they are told after those, so a reading later they know.
      #expect(try await readings(queue, 2).count == 2)
      try await owed.submit(.plain, payload: ByteBuffer(string: "owed")).get()
      #expect(isTold(try await queue.push()))
      try await owed.drain().get()
    }
  }

  @Test func `before Redis is full pushes are refused, and what else fills it counts as well`() async throws {
    let options = RedisServerOptions { $0.maxMemory = 30 << 20 }
    try await with([options]) { queue async throws in
      #expect(try await queue.push() == nil)
      var others = 0
      while try await usedMemory(queue) < 25 << 20 {
        others += 1
        try await queue.clients[0].execute(
          RedisCommand("SET", "other-\(others)", String(repeating: "x", count: 500_000))
        ).ok()
      }
      try await queue.eventuallyPushes("it is refused") { isOverLimit($0) }
      let standing = try await queue.watch.standings().get()[0]
      #expect(standing.admission.shutFor == .memory)
      // The key store still can be written to.
      try await queue.clients[0].execute(RedisCommand("SET", "a-key", "a record")).ok()
      let names = (1...others).map { "other-\($0)" }
      _ = try await queue.clients[0].execute(RedisCommand("DEL", arguments: names)).integer()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
    }
  }

  private func usedMemory(_ queue: Watched) async throws -> Int {
    let info = try #require(InfoFields(try await queue.clients[0].execute(RedisCommand("INFO", "memory"))))
    return try #require(info["used_memory"].flatMap { Int($0) })
  }

  @Test func `huge payloads on all event loops at once leave a small Redis room for everybody else's`() async throws {
    let options = RedisServerOptions { $0.maxMemory = 64 << 20 }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 4)
    try await with([options]) { queue async throws in
      let clients = (0..<4).map { _ in
        RedisClient(endpoint: queue.servers[0].endpoint, on: group.next(), logger: .silent)
      }
      let producers = clients.map {
        QueueProducer(
          shards: [QueueProducer.Shard(client: $0, layout: queue.layout(0))],
          limits: ProducerLimits(deadline: .seconds(60)), watch: queue.watch)
      }
      for producer in producers {
        try await eventually("it has a connection") {
          try await producer.submit(.plain, payload: ByteBuffer(string: "small")).map { true }.recover { _ in false }
            .get()
        }
      }
      #expect(try await readings(queue, 2).count == 2)
      let payload = ByteBuffer(repeating: 7, count: 16 << 20)
      let futures = (0..<8).map { number in
        var header = EnvelopeHeader.numbered(number)
        header.account = "account-\(number)"
        return producers[number % 4].submit(header, payload: payload)
      }
      for number in 0..<50 {
        #expect(try await queue.push(number) == nil)
        try await queue.clients[0].execute(RedisCommand("SET", "a-key", "a record")).ok()
      }
      var taken = 0
      for future in futures {
        do {
          try await future.get()
          taken += 1
        } catch EnqueueError.overLimit, EnqueueError.accountOverLimit {
          continue
        }
      }
      #expect((1...3).contains(taken), "\(taken)")
      for producer in producers { try await producer.drain().get() }
      for client in clients { try await client.shutDown().get() }
    }
    try await group.shutdownGracefully()
  }

  @Test func `at Redis's real limit its own no is heard, nothing wedges, and what drains lets in again`() async throws {
    let options = RedisServerOptions { $0.maxMemory = 20 << 20 }
    // The node's own limit of memory is above Redis's.
    try await with([options], limits: QueueLimits(memoryPercent: 100)) { queue async throws in
      var taken = 0
      var refusal: EnqueueError?
      while refusal == nil, taken < 1_000 {
        // Use many accounts: a single one would reach its own limit first.
        refusal = try await queue.push(taken, 60_000, account: "account-\(taken % 30)")
        if refusal == nil { taken += 1 }
      }
      guard case .refused(let error) = refusal else {
        // The reading may be first: 100% of the limit is a mark as well.
        #expect(isOverLimit(refusal), "\(String(describing: refusal))")
        return
      }
      #expect(error.code == "OOM")
      #expect(try await queue.length(0) == Int64(taken))
      let list = queue.layout(0).pending(0)
      _ = try await queue.clients[0].execute(RedisCommand("RPOP", list, taken / 2)).array()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
      #expect(try await queue.counters().connectedShards == 1)
    }
  }

  @Test func `a reading that fails changes nothing, and one that is too old isn't relied on`() async throws {
    let options = RedisServerOptions { $0.users = ["default on nopass ~* &* +@all"] }
    try await with([options], limits: QueueLimits(entries: 10)) { queue async throws in
      for number in 0..<10 { #expect(try await queue.push(number) == nil) }
      #expect(isOverLimit(try await queue.push()))
      // A user that may not run scripts can still push.
      try await queue.clients[0].execute(RedisCommand("ACL", "SETUSER", "default", "-evalsha_ro", "-eval_ro")).ok()
      _ = try await queue.clients[0].execute(RedisCommand("DEL", queue.layout(0).pending(0))).integer()
      let since = ContinuousClock.now
      try await queue.eventuallyPushes("the old reading isn't relied on any more") { $0 == nil }
      #expect(ContinuousClock.now - since > .milliseconds(200), "a failed reading opened the gate")
      #expect(try await queue.watch.standings().get()[0].isStale)
      // The lengths in replies still hold it, word for word.
      for number in 0..<30 { _ = try await queue.push(number) }
      #expect(try await queue.length(0) < 30)
    }
  }

  // MARK: Durability

  @Test func `what an acknowledgement means is read, and read again when it changes`() async throws {
    try await with([RedisServerOptions { $0.appendOnly = .always }]) { queue async throws in
      func reads(_ words: String) async throws {
        try await eventually("it reads \(words)") {
          try await queue.watch.standings().get()[0].durability?.description == words
        }
      }
      try await reads("fsync before each answer")
      try await queue.clients[0].execute(RedisCommand("CONFIG", "SET", "appendfsync", "everysec")).ok()
      try await reads("fsync each second")
      try await queue.clients[0].execute(RedisCommand("CONFIG", "SET", "appendonly", "no")).ok()
      try await reads("in memory only")
      #expect(try await queue.push() == nil)
    }
  }

  @Test func `a Redis that promises less than is required from the start ends the watch`() async throws {
    try await with([RedisServerOptions { $0.appendOnly = .everysec }], requirement: .always) { queue async throws in
      let error = await #expect(throws: InsufficientDurability.self) { try await queue.ended.get() }
      #expect(error?.description.contains("--require-durability always isn't met: appendfsync is everysec") == true)
      #expect(isLost(try await queue.push()))
      #expect(try await queue.length(0) == 0)
    }
  }

  @Test func `one that promises less later isn't pushed to until it does again`() async throws {
    try await with([RedisServerOptions { $0.appendOnly = .always }], requirement: .always) { queue async throws in
      try await queue.eventuallyPushes("it takes payloads") { $0 == nil }
      try await queue.clients[0].execute(RedisCommand("CONFIG", "SET", "appendfsync", "everysec")).ok()
      try await queue.eventuallyPushes("it refuses") { isLost($0) }
      let length = try await queue.length(0)
      #expect(isLost(try await queue.push()))
      #expect(try await queue.length(0) == length)
      try await queue.clients[0].execute(RedisCommand("CONFIG", "SET", "appendfsync", "always")).ok()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
    }
  }

  @Test func `another Redis at the address is asked before anything is pushed to it`() async throws {
    try await with([RedisServerOptions { $0.appendOnly = .always }], requirement: .always) { queue async throws in
      try await queue.eventuallyPushes("it takes payloads") { $0 == nil }
      let before = try await queue.length(0)
      // As it comes back from a restart with the wrong settings.
      try await queue.clients[0].execute(RedisCommand("CONFIG", "SET", "appendfsync", "everysec")).ok()
      _ = try await queue.clients[0].execute(RedisCommand("CLIENT", "KILL", "TYPE", "normal")).integer()
      try await queue.eventuallyPushes("it refuses for its durability") { isLost($0) }
      let after = try await queue.length(0)
      // Payloads that were pushed between the change and the cut used the old connection.
      #expect(after - before <= 1)
    }
  }

  @Test func `with replicas required each batch is confirmed by them, or nobody hears that it was taken`() async throws
  {
    let limits = ProducerLimits(deadline: .milliseconds(900))
    try await with(producer: limits, requirement: .replicas(1)) { queue async throws in
      // There is none yet: that is too little from the start.
      await #expect(throws: InsufficientDurability.self) { try await queue.ended.get() }
      let replica = try await RedisServer.start(
        RedisServerOptions { $0.arguments = ["--replicaof", "127.0.0.1", "\(queue.servers[0].port)"] })
      try await queue.eventuallyPushes("it takes payloads") { $0 == nil }
      try await replica.pause()
      let failure = try await queue.push(1)
      #expect(failure == .unconfirmed(replicas: 0, required: 1))
      // The primary has it all the same, so nobody may say that it wasn't taken.
      #expect(try await queue.length(0) >= 2)
      try replica.resume()
      try await queue.eventuallyPushes("it takes payloads again") { $0 == nil }
      try await replica.kill9()
      try await queue.eventuallyPushes("it is refused before it is pushed") { isLost($0) }
      let length = try await queue.length(0)
      #expect(isLost(try await queue.push()))
      #expect(try await queue.length(0) == length)
    }
  }

  // MARK: Shards

  @Test func `batches go to all shards by turns`() async throws {
    try await with([RedisServerOptions(), RedisServerOptions(), RedisServerOptions()]) { queue async throws in
      for number in 0..<30 { #expect(try await queue.push(number) == nil) }
      for shard in 0..<3 { #expect(try await queue.length(shard) == 10) }
    }
  }

  @Test func `a shard that is away, full or not durable enough is passed over, and taken up again`() async throws {
    let always = RedisServerOptions { $0.appendOnly = .always }
    try await with(
      [always, always, always, always], limits: QueueLimits(entries: 50), requirement: .always
    ) { queue async throws in
      try await eventually("all shards are known") {
        try await queue.watch.standings().get().allSatisfy { $0.reading != nil && $0.durabilityLack == nil }
      }
      try await queue.eventuallyPushes("it takes payloads") { $0 == nil }
      try await queue.servers[0].kill9()
      _ = try await queue.clients[1].execute(
        RedisCommand("LPUSH", arguments: [queue.layout(1).pending(3)] + (0..<60).map { "\($0)" })
      ).integer()
      try await queue.clients[2].execute(RedisCommand("CONFIG", "SET", "appendfsync", "everysec")).ok()
      try await eventually("the watch knows") {
        let standings = try await queue.watch.standings().get()
        return standings[1].admission.shutFor != nil && standings[2].durabilityLack != nil
      }
      try await eventually("the producer knows") {
        try await queue.producer.eventLoop.submit { queue.producer.counters.connectedShards }.get() == 3
      }
      let before = (try await queue.length(1), try await queue.length(2))
      for number in 0..<20 { #expect(try await queue.push(number) == nil) }
      let after = (try await queue.length(1), try await queue.length(2))
      #expect(after == before)
      #expect(try await queue.length(3) >= 20)

      try await queue.servers[0].restart()
      _ = try await queue.clients[1].execute(RedisCommand("DEL", queue.layout(1).pending(3))).integer()
      try await queue.clients[2].execute(RedisCommand("CONFIG", "SET", "appendfsync", "always")).ok()
      var number = 100
      for shard in 0..<3 {
        let old = shard == 0 ? 0 : try await queue.length(shard)
        try await eventually("shard \(shard) is pushed to again") {
          number += 1
          _ = try await queue.push(number)
          return try await queue.length(shard) > old
        }
      }
    }
  }

  @Test func `a shard that holds still doesn't hold up the others`() async throws {
    let limits = ProducerLimits(entriesPerBatch: 10, deadline: .seconds(2))
    try await with([RedisServerOptions(), RedisServerOptions()], producer: limits) { queue async throws in
      #expect(try await queue.push(0) == nil)
      try await queue.servers[0].pause()
      let loop = queue.producer.eventLoop
      let (producer, payload) = (queue.producer, ByteBuffer(string: "x"))
      let outcomes = try await loop.flatSubmit {
        EventLoopFuture.whenAllComplete((0..<1_000).map { producer.submit(.numbered($0), payload: payload) }, on: loop)
      }.get()
      let taken = outcomes.count { (try? $0.get()) != nil }
      // Two batches were on their way to the one that is held.
      #expect(taken >= 980, "\(taken)")
      for outcome in outcomes {
        if case .failure(let error) = outcome {
          guard case .unknownOutcome? = error as? EnqueueError else {
            Issue.record("\(error)")
            return
          }
        }
      }
      try queue.servers[0].resume()
    }
  }

  @Test func `with all shards away a payload is refused at once`() async throws {
    try await with([RedisServerOptions(), RedisServerOptions()]) { queue async throws in
      for server in queue.servers { try await server.kill9() }
      try await eventually("the producer knows") { try await queue.counters().connectedShards == 0 }
      guard case .away(let error) = try await queue.push() else {
        Issue.record("it isn't away")
        return
      }
      #expect(error.outcome == .notSent)
    }
  }
}

/// For what a test does itself.
var singletonLoop: any EventLoop { MultiThreadedEventLoopGroup.singleton.next() }
