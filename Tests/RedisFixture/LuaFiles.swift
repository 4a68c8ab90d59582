// The Lua scripts of a target as they are in its sources, and what must hold of each. Redis itself finds a name that
// isn't there only when the script comes to it, which may be in a branch that is taken once a year.

import Foundation
import Hiredis
public import RedisClient

/// The `.lua` files of a target, by name.
public struct LuaFiles {
  public let files: [String: LuaFile]

  /// - Parameter target: A folder of `Sources`.
  public init(of target: String) throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let folder = tests.deletingLastPathComponent().appendingPathComponent("Sources/\(target)/Scripts")
    var files: [String: LuaFile] = [:]
    for case let url as URL in FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) ?? .init()
    where url.pathExtension == "lua" {
      files[url.lastPathComponent] = LuaFile(try String(contentsOf: url, encoding: .utf8))
    }
    self.files = files
  }

  /// Those that Redis runs; the others are included by them.
  public var scripts: [String] { files.filter { $0.value.isScript }.keys.sorted() }

  /// Has a Redis load each script of the target, as it is embedded.
  /// - Returns: What is wrong: a script that isn't among these, or one that Redis knows by another digest.
  /// - Throws: Redis's error for a script that it doesn't take.
  public func flaws(ofEmbedded embedded: [RedisScript]) async throws -> [String] {
    var flaws = embedded.count == scripts.count ? [] : ["\(scripts.count) files and \(embedded.count) scripts"]
    try await withRedis { redis in
      for script in embedded {
        let digest = try await redis.run("SCRIPT", "LOAD", script.source).string()
        if digest != script.digest { flaws.append("\(script.name) has the digest \(digest)") }
      }
    }
    return flaws
  }

  /// The codes of the errors that the scripts answer.
  public var errorCodes: Set<String> { files.values.reduce(into: []) { $0.formUnion($1.errorCodes) } }

  /// What is wrong: a file that nobody includes, an included function that isn't used, a name that is neither the
  /// file's own nor of a file that it includes.
  public func flaws() -> [String] {
    var flaws: [String] = []
    var unused = Set(files.filter { !$0.value.isScript }.keys)
    for (name, file) in files.sorted(by: { $0.key < $1.key }) {
      var known = file.declared.union(LuaFile.known)
      for include in file.includes {
        unused.remove(include)
        guard let included = files[include] else {
          flaws.append("\(name) includes \(include), which isn't there")
          continue
        }
        known.formUnion(included.outer)
        for function in included.functions.subtracting(file.used).sorted() {
          flaws.append("\(name) includes \(include) and doesn't use \(function)")
        }
      }
      for missing in file.used.subtracting(known).sorted() { flaws.append("\(name) has no \(missing)") }
    }
    return flaws + unused.sorted().map { "nobody includes \($0)" }
  }
}

/// One file of Lua, as far as its names go. Scopes aren't looked at.
public struct LuaFile {
  public private(set) var includes: [String] = []
  public let isScript: Bool
  /// Texts in quotation marks.
  public private(set) var strings: Set<String> = []
  /// Words that replies begin with.
  public private(set) var answers: Set<String> = []
  fileprivate private(set) var errorCodes: Set<String> = []
  /// Names that are used: no fields of tables.
  private(set) var used: Set<String> = []
  /// Names of variables, functions and parameters.
  private(set) var declared: Set<String> = []
  /// Of these, those that a file sees that includes this one, and the functions among them.
  private(set) var outer: Set<String> = []
  private(set) var functions: Set<String> = []

  private static let keywords: Set = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
    "repeat", "return", "then", "true", "until", "while",
  ]
  /// What Redis gives to scripts.
  static let known: Set = [
    "ARGV", "KEYS", "bit", "cjson", "ipairs", "math", "pairs", "pcall", "redis", "string", "table", "tonumber",
    "tostring", "type", "unpack",
  ]

  init(_ text: String) {
    isScript = text.hasPrefix("#!lua")
    var code = ""
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) where !line.hasPrefix("#!") {
      if let include = line.wholeMatch(of: /-- include (.+)/) { includes.append(String(include.1)) }
      code += line + "\n"
    }
    answers = Set(code.matches(of: /return \{ '(\w+)'/).map { String($0.1) })
    errorCodes = Set(code.matches(of: /error_reply\('(\w+)\b/).map { String($0.1) })
    read(Self.words(of: code, strings: &strings))
  }

  /// A name, a number or a single sign, and whether a line begins with it.
  private struct Word {
    let text: Substring
    let beginsLine: Bool
    var isName: Bool { text.first.map { $0.isLetter || $0 == "_" } ?? false }
  }

  private static func words(of code: String, strings: inout Set<String>) -> [Word] {
    let word = /--.*|'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|[A-Za-z_]\w*|\d[\w.]*|\.\.|[=~<>]=|\S/
    return code.matches(of: word).compactMap { match in
      let text = match.0
      if text.hasPrefix("--") { return nil }
      if let string = match.1 ?? match.2 { strings.insert(String(string)) }
      let isString = match.1 != nil || match.2 != nil
      let begin = text.startIndex
      let beginsLine = begin == code.startIndex || code[code.index(before: begin)] == "\n"
      return Word(text: isString ? "''" : text, beginsLine: beginsLine)
    }
  }

  private mutating func read(_ words: [Word]) {
    var (braces, index) = (0, 0)
    func text(_ index: Int) -> Substring { words.indices.contains(index) ? words[index].text : "" }
    /// Names with commas between them.
    func names(from index: Int) -> [String] {
      stride(from: index, to: words.count, by: 2)
        .prefix { words[$0].isName && ($0 == index || text($0 - 1) == ",") }.map { String(text($0)) }
    }
    while index < words.count {
      let word = words[index]
      defer { index += 1 }
      switch word.text {
      case "{": braces += 1
      case "}": braces -= 1
      case "local" where text(index + 1) == "function":
        declared.insert(String(text(index + 2)))
        if word.beginsLine { functions.insert(String(text(index + 2))) }
        if word.beginsLine { outer.insert(String(text(index + 2))) }
        // Its own name is no use of it.
        index += 2
        declared.formUnion(names(from: index + 2))
      case "local", "for":
        declared.formUnion(names(from: index + 1))
        if word.beginsLine, word.text == "local" { outer.formUnion(names(from: index + 1)) }
      case "function": declared.formUnion(names(from: index + 2))
      case let name where word.isName && !Self.keywords.contains(String(name)):
        let isField = [".", ":"].contains(text(index - 1)) || (braces > 0 && text(index + 1) == "=")
        if !isField { used.insert(String(name)) }
      default: break
      }
    }
  }
}
