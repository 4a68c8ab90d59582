import ArgumentParser
import CommandSupport
// The compiler finds `stat` in this module, because a C library includes its header there first.
import CoreFoundation
import Foundation
import KeyStore

/// Where a list is read from, and how its completeness is checked.
struct ListSource: ParsableArguments {
  @Argument(help: ArgumentHelp("The list's file, or - for standard input.", valueName: "file")) var file: String?

  // Not from the environment: otherwise a command could be run that wasn't requested.
  @Option(
    help: .commandLineOnly(
      "A command that prints the list, run by /bin/sh. The list is taken only if it ends with status 0; of a pipeline only the "
        + "last command's status counts.", valueName: "command"))
  var command: String?

  private static let expect = Setting<Int>(
    "expect", "The number of records in the list. With another number nothing is changed.", shown: "number",
    in: 0...Int.max)
  @Option(help: Self.expect.help) var expect: String?

  private static let expectAtLeast = Setting<Int>(
    "expect-at-least", "The least number of records in the list. With fewer nothing is changed.", shown: "number",
    in: 0...Int.max)
  @Option(help: Self.expectAtLeast.help) var expectAtLeast: String?

  /// - Throws: `ValidationError`.
  func resolve(_ settings: Settings) throws -> Source {
    let origin: Source.Origin
    switch (file, command) {
    case ("-"?, nil): origin = .standardInput
    case (let path?, nil): origin = .file(path)
    case (nil, let command?) where !command.isEmpty: origin = .command(command)
    default: throw ValidationError("expected either a file (- for standard input) or --command")
    }
    return Source(
      origin: origin, exactly: try settings.optional(Self.expect, given: expect),
      atLeast: try settings.optional(Self.expectAtLeast, given: expectAtLeast))
  }

  struct Source {
    enum Origin {
      case standardInput
      case file(String)
      case command(String)
    }

    fileprivate let origin: Origin
    fileprivate let exactly: Int?
    fileprivate let atLeast: Int?

    var isCommand: Bool { if case .command = origin { true } else { false } }

    private var name: String {
      switch origin {
      case .standardInput: "standard input"
      case .file(let path): path
      case .command: "the command's output"
      }
    }

    /// Refuses a list whose end can't be distinguished from a truncation.
    func requireEnd(forSealing: Bool) throws {
      let isPipe =
        switch origin {
        case .standardInput: true
        case .command: false
        case .file(let path): Self.isPipe(path)
        }
      guard isPipe, exactly == nil, atLeast == nil else { return }
      let what = forSealing ? "--seal" : "sync"
      throw ValidationError(
        "\(what) with a list from \(name) needs --expect or --expect-at-least with the number of records, or --command instead of "
          + "a pipe: if the export fails half-way, the pipe just ends, and the keys after that would be refused")
    }

    /// Whether the path is a pipe. A missing file is reported when it is opened.
    private static func isPipe(_ path: String) -> Bool {
      var status = stat()
      return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    }

    /// Reads and checks the whole list.
    /// - Throws: The exit status. The error has been reported.
    func read() throws -> KeyListSpool {
      let list: KeyListSpool
      switch origin {
      case .standardInput: list = try told { try spool(.standardInput) }
      case .file(let path):
        guard let opened = FileHandle(forReadingAtPath: path) else {
          complain("can't open \(path): \(String(cString: strerror(errno)))")
          throw ExitStatus.noInput.code
        }
        list = try told { try spool(opened) }
      case .command(let text):
        let command = try ExportCommand(text)
        let read = Result { try spool(command.output) }
        do {
          // Usually the command's own failure is reported, because a truncated list is its consequence. But if the list
          // wasn't read to its end, the command's status says nothing about the list.
          if case .failure(let bad as KeyListSpool.BadList) = read, !bad.wasReadToEnd { throw bad }
          try command.finish()
          list = try read.get()
        } catch let failure as ExportCommand.Failed {
          complain("\(failure), so its list is ignored. Nothing was changed in the store")
          throw ExitStatus.tryAgain.code
        } catch let bad as KeyListSpool.BadList {
          throw told(bad)
        }
      }
      try check(list.entryCount)
      return list
    }

    private func spool(_ file: FileHandle) throws -> KeyListSpool {
      var progress = Progress("reading", total: nil)
      defer { progress.finish() }
      return try KeyListSpool.reading(file) { entries, _ in progress.update(entries) }
    }

    private func told(_ body: () throws -> KeyListSpool) throws -> KeyListSpool {
      do {
        return try body()
      } catch let bad as KeyListSpool.BadList {
        throw told(bad)
      }
    }

    /// Reports the problems of a list.
    private func told(_ bad: KeyListSpool.BadList) -> ExitCode {
      for problem in bad.problems { complain("\(name): \(problem)") }
      if bad.gaveUp { complain("… and perhaps more") }
      complain("nothing was changed in the store")
      return ExitStatus.dataError.code
    }

    private func check(_ found: Int) throws {
      let expected: String
      if let exactly, found != exactly {
        expected = "\(exactly) (--expect)"
      } else if let atLeast, found < atLeast {
        expected = "at least \(atLeast) (--expect-at-least)"
      } else {
        return
      }
      complain(
        "\(name): expected \(expected) records, found \(found). Nothing was changed in the store. Export the list again, or correct "
          + "the number")
      throw ExitStatus.dataError.code
    }
  }
}
