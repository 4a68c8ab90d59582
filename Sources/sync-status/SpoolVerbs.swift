// Payloads that a node has set aside in its spool: list, show, requeue, discard. Run it on the node's machine, while
// the node is stopped.

import ArgumentParser
import Fleet
import IngestQueue
import IngestSpool
import CommandSupport

struct SpoolVerbs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "spool",
    abstract: "Lists, shows, requeues or discards payloads that a node has set aside in its spool.",
    discussion: """
      A payload is set aside if Redis can't take it, mostly because it is larger than Redis's proto-max-bulk-len or \
      client-query-buffer-limit. Run this on the node's machine, as the node's user, while the node is stopped. It needs no \
      Redis. Exit status: 0 done, 1 a given number isn't set aside or nothing was changed, 2 the spool can't be used.
      """,
    subcommands: [SpoolList.self, SpoolShow.self, SpoolRequeue.self, SpoolDiscard.self])
}

/// The folder of the spool.
struct SpoolFolder: ParsableArguments {
  @Argument(help: ArgumentHelp("The folder that the node has as --spool.", valueName: "folder")) var folder: String

  /// - Throws: The exit status, if the spool can't be used. The error has been reported.
  func run(_ body: (StoppedSpool) throws -> Void) throws {
    do {
      let spool = try StoppedSpool(folder: folder)
      try body(spool)
      try spool.close()
    } catch let error as UnusableSpool {
      complain("\(error)" + (error.isInUse ? "; stop the node that uses it, and run this again" : ""))
      throw Outcome.cannotTell
    } catch let error as SpoolFailure {
      complain("\(error)")
      throw Outcome.cannotTell
    }
  }
}

/// Selects from the payloads that are set aside. All of them are selected only if --all is given.
struct SetAsideChoice: ParsableArguments {
  @Argument(help: ArgumentHelp("Their numbers, as listed.", valueName: "number")) var numbers: [Int64] = []

  @Flag(help: .confirmation("All of them.")) var all = false

  /// Maximum payloads. Run it again for more.
  private static let limit = 100_000

  /// Reports which of the named ones don't exist.
  func resolve(in spool: StoppedSpool) throws -> (found: [SetAsidePayload], areAll: Bool) {
    guard all == numbers.isEmpty else { throw ValidationError("expected either numbers of payloads, or --all") }
    let payloads = try spool.setAside(limit: Self.limit)
    if all { return (payloads, true) }
    let missing = Set(numbers).subtracting(payloads.map(\.number)).sorted()
    for number in missing.prefix(20) { complain("no payload \(number) is set aside") }
    if missing.count > 20 {
      complain("\(Wording.count(missing.count - 20)) more of the given numbers aren't set aside")
    }
    return (payloads.filter { numbers.contains($0.number) }, missing.isEmpty)
  }
}

struct SpoolList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists payloads that are set aside, the oldest first.")

  @OptionGroup var folder: SpoolFolder

  private static let limit = Setting<Int>(
    "limit", "Maximum number of payloads.", shown: "number", default: "50", in: 1...100_000)
  @Option(help: Self.limit.help) var limit: String?

  func run() throws {
    let limit = try Settings().value(Self.limit, given: limit)
    try folder.run { spool in
      let payloads = try spool.setAside(limit: limit + 1)
      for payload in payloads.prefix(limit) {
        let columns = [
          "\(payload.number)", Wording.moment(payload.spooledAt), Wording.bytes(UInt64(payload.bytes)),
          payload.header?.account ?? "-", payload.reason,
        ]
        try write(Wording.printable(columns.joined(separator: "  ")) + "\n")
      }
      if payloads.isEmpty { complain("no payload is set aside") }
      if payloads.count > limit { complain("there are more; to see them give a larger --limit") }
    }
  }
}

struct SpoolShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows a payload that is set aside, or writes it to the standard output.",
    discussion: "If the payload can't be parsed, --payload writes the stored bytes.")

  @OptionGroup var folder: SpoolFolder

  private static let payload = Setting.flag("payload", "Write the payload, byte for byte, and nothing else.")
  @Flag(help: Self.payload.help) var payload = false

  @Argument(help: ArgumentHelp("Its number, as listed.", valueName: "number")) var number: Int64

  func run() throws {
    let payload = try Settings().flag(Self.payload, given: payload)
    try folder.run { spool in
      guard let found = try spool.setAside(number), let element = try spool.element(number) else {
        complain("no payload \(number) is set aside")
        throw Outcome.notInSync
      }
      let headerBytes = found.header == nil ? 0 : (element.firstIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
      if payload { return try write(element.dropFirst(headerBytes)) }
      let lines = [
        ("number", "\(number)"), ("reason", found.reason), ("spooled", Wording.moment(found.spooledAt)),
        ("set aside", Wording.moment(found.setAsideAt)), ("account", found.header?.account ?? "-"),
        ("envelope", String(decoding: element.prefix(max(0, headerBytes - 1)), as: UTF8.self)),
        ("payload", "\(Wording.count(element.count - headerBytes)) bytes; --payload writes them"),
      ]
      for (name, value) in lines {
        try write(name + String(repeating: " ", count: 11 - name.count) + Wording.printable(value) + "\n")
      }
    }
  }
}

struct SpoolRequeue: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "requeue", abstract: "Lets the node push payloads that were set aside, when it runs again.",
    discussion: "Use it after you raised Redis's limits. Otherwise the payloads are set aside again.")

  @OptionGroup var folder: SpoolFolder
  @OptionGroup var choice: SetAsideChoice

  func run() throws {
    try folder.run { spool in
      let (payloads, areAll) = try choice.resolve(in: spool)
      try spool.requeue(payloads.map(\.number))
      try write("\(Wording.number(payloads.count, "payload")) will be pushed when the node runs\n")
      if !areAll { throw Outcome.notInSync }
    }
  }
}

struct SpoolDiscard: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard", abstract: "Discards payloads that were set aside.",
    discussion: "Without --yes it only counts, changes nothing, and ends with status 1 if there is something to do.")

  @OptionGroup var folder: SpoolFolder
  @OptionGroup var choice: SetAsideChoice

  @Flag(help: .confirmation("Do it.")) var yes = false

  func run() throws {
    try folder.run { spool in
      let (payloads, areAll) = try choice.resolve(in: spool)
      let text = Wording.number(payloads.count, "payload")
      guard yes else {
        try write("would discard \(text)\n")
        if !payloads.isEmpty { complain("nothing was changed; to discard them use --yes") }
        if !payloads.isEmpty || !areAll { throw Outcome.notInSync }
        return
      }
      try spool.discard(payloads.map(\.number))
      try write("discarded \(text)\n")
      if !areAll { throw Outcome.notInSync }
    }
  }
}
