// A client and its connection in one thread: it sends, the connection reads as much as it wants to, and what it writes
// is read back. Time is the embedded event loop's and passes when a test says so.
//
// What must hold for every connection, whatever is tested, is looked at when it is over: no byte of the budget is kept,
// nobody keeps the handler, and an answer that comes after the end meets nobody.

import ClientAddress
import Foundation
import HTTPFraming
import NIOCore
import NIOEmbedded
import Testing

@testable import IngestNode
@testable import Listening

final class EmbeddedClient {
  let loop = EmbeddedEventLoop()
  let gate: ScriptedGate
  let budget: ByteBudget
  let counters: AnswerCounters
  let stopping = StopFlag()
  private let channel: EmbeddedChannel
  private let socket = SimulatedSocket()
  private weak let handler: PushConnection?
  /// What was sent, and how much of it the node has read. No `ByteBuffer`: debug builds are slow with them.
  private var sent: [UInt8] = []
  private var readBytes = 0
  private let readSize: Int
  private let ownsBudget: Bool
  private let turns: ConnectionTurns
  private let location: SourceLocation

  /// - Parameters:
  ///   - budget: In bytes. Of requests whose key hasn't come yet there may be more, unless `limits` say otherwise.
  ///   - shared: Held together with others instead; whoever has made it sees to it that all is given back.
  ///   - address: The client's.
  ///   - readSize: How many bytes one reading brings at most.
  init(
    limits: RequestLimits = RequestLimits(), deadlines: PhaseDeadlines = PhaseDeadlines(),
    dialects: [Dialect] = Dialects.all, budget: Int = 1 << 20, sharing shared: ByteBudget? = nil,
    address: IPAddress? = nil, trusted: TrustedProxies = .none, place: ConnectionPlace? = nil,
    batches: BatchCounter = BatchCounter { $0() }, readSize: Int = 64 << 10,
    location: SourceLocation = #_sourceLocation
  ) {
    self.readSize = readSize
    self.location = location
    gate = ScriptedGate(on: loop)
    gate.script("good", .admits(account: "acme"))
    var budgetLimits = ByteBudget.Limits(budget)
    (budgetLimits.keyless, budgetLimits.keylessNetwork) = (1 << 20, 1 << 20)
    self.budget = shared ?? ByteBudget(budgetLimits)
    ownsBudget = shared == nil
    counters = AnswerCounters(dialects)
    turns = ConnectionTurns(on: loop)
    let connection = PushConnection(
      gate: gate,
      shared: ListenerContext(
        limits: limits, deadlines: deadlines, dialects: dialects, counters: counters, stopping: stopping,
        trusted: trusted, batches: batches),
      budget: self.budget, turns: turns, client: address, isEncrypted: false, place: place)
    handler = connection
    channel = EmbeddedChannel(handlers: [socket, connection], loop: loop)
    do { try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait() } catch {
      Issue.record(error, sourceLocation: location)
    }
    channel.read()
  }

  deinit {
    if channel.isActive { channel.close(promise: nil) }
    loop.run()
    while !turns.isEmpty { loop.advanceTime(by: .milliseconds(1)) }
    while gate.say() {}
    if ownsBudget, budget.used != 0 || budget.keylessUsed != 0 {
      Issue.record("\(budget.used) and \(budget.keylessUsed) bytes are never given back", sourceLocation: location)
    }
    if handler != nil { Issue.record("somebody keeps the connection's handler", sourceLocation: location) }
    // The event loop traps if a timer is left on it.
  }

  // MARK: What the client does

  func send(_ text: String) { send(Array(text.utf8)) }

  func send(_ bytes: some Sequence<UInt8>) {
    sent += bytes
    pump()
  }

  /// Sends what one reading brings, and lets no time pass.
  func sendInOneRead(_ text: String) {
    sent += text.utf8
    deliver()
  }

  /// Other connections of the event loop wait for their turn, until a millisecond has passed.
  func crowd() { turns.add(Bystander()) }

  private final class Bystander: TurnTaking {
    var turnOwner: TurnOwner { .connection(ObjectIdentifier(self)) }
    let isProven = true
    func goOn() {}
  }

  /// Sends nothing more. NIO reads all that is there when it sees that, whether it was asked to or not.
  func halfClose() {
    while channel.isActive, unreadBytes > 0 { deliver() }
    guard channel.isActive, !socket.inputIsClosed else { return }
    socket.inputIsClosed = true
    channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    pump()
  }

  /// Goes away.
  func reset() {
    channel.pipeline.fireErrorCaught(IOError(errnoCode: ECONNRESET, reason: "reset"))
    loop.run()
  }

  func stopReading() { socket.stall() }

  func readAgain() {
    socket.resume()
    pump()
  }

  // MARK: What else happens

  /// The push handler returns the oldest outcome that it owes.
  func gateSays(_ index: Int = 0, location: SourceLocation = #_sourceLocation) {
    if !gate.say(index) { Issue.record("nobody asked the gate", sourceLocation: location) }
    pump()
  }

  func pass(_ time: TimeAmount) {
    loop.advanceTime(by: time)
    pump()
  }

  func quiesce() {
    channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    pump()
  }

  private func pump() {
    defer { loop.run() }
    while true {
      while channel.isActive, !socket.inputIsClosed, socket.wantsRead, unreadBytes > 0 { deliver() }
      // What has had its turn goes on a millisecond later.
      if turns.isEmpty { break }
      loop.advanceTime(by: .milliseconds(1))
    }
  }

  private func deliver() {
    let part = sent[readBytes..<readBytes + min(readSize, unreadBytes)]
    readBytes = part.endIndex
    if readBytes == sent.count {
      sent = []
      readBytes = 0
    }
    socket.wantsRead = false
    channel.pipeline.fireChannelRead(ByteBuffer(bytes: part))
    channel.pipeline.fireChannelReadComplete()
    channel.read()
    // The connection closes in a turn of its own.
    loop.run()
  }

  // MARK: What there is to see

  var isOpen: Bool { channel.isActive }
  /// Whether the node said that it sends nothing more.
  var outputIsClosed: Bool { socket.outputIsClosed || !channel.isActive }
  /// Whether the node may write more, as its channel says.
  var isWritable: Bool { channel.isWritable }
  /// How many bytes the node left in the socket.
  var unreadBytes: Int { sent.count - readBytes }
  /// How many bytes wait for the client to read them, and the most that did.
  var waitingBytes: Int { socket.waiting }
  var mostWaitingBytes: Int { socket.mostWaiting }
  /// All that came back.
  var stream: [UInt8] { socket.delivered }
  /// How many bytes of memory the node holds for what it has read and not consumed.
  var inputCapacity: Int { handler?.inputCapacity ?? 0 }
  /// When the connection's timer rings.
  var timer: NIODeadline? { handler?.clock.timer?.at }

  /// The answers so far.
  /// - Parameter heads: Which of the requests, from 0, are HEAD.
  func answers(heads: Set<Int> = [], location: SourceLocation = #_sourceLocation) throws -> [ReadAnswer] {
    do throws(ReadAnswer.Unreadable) {
      return try ReadAnswer.all(in: socket.delivered, heads: heads)
    } catch {
      Issue.record(error, sourceLocation: location)
      throw error
    }
  }

  /// The statuses of the answers so far.
  func statuses(location: SourceLocation = #_sourceLocation) throws -> [Int] {
    try answers(location: location).map(\.status)
  }

  /// The one answer that there must be.
  func answer(isForHead: Bool = false, location: SourceLocation = #_sourceLocation) throws -> ReadAnswer {
    let answers = try answers(heads: isForHead ? [0] : [], location: location)
    guard let answer = answers.first, answers.count == 1 else {
      throw ReadAnswer.Unreadable(description: "one answer was expected, and came \(answers.map(\.status))")
    }
    return answer
  }
}

extension ByteBudget.Limits {
  /// So many bytes without shares, for tests of other things.
  init(_ total: Int) {
    self.init(total: total, body: 0)
    (account, network, uncounted, keyless, keylessNetwork) = (total, total, total, total, total)
  }
}
