// Checkers that others wrote in Python: Debian's package where it is installed, else one of a fixed version, fetched from PyPI once into
// the build folder; and scripts beside the tests that use it. Without either a test that needs one fails and says what is missing.

public import Foundation

/// A package that a script of the tests imports.
public struct PythonPackage: Sendable {
  public let name: String
  public let version: String

  public init(name: String, version: String) {
    self.name = name
    self.version = version
  }

  private struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private static let build = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: ".build")

  /// Runs a script with the package at hand, for at most two minutes.
  /// - Parameters:
  ///   - script: Its name.
  ///   - test: A file in the same folder.
  /// - Returns: Its standard output.
  public func run(_ script: String, beside test: String = #filePath, input: Data) throws -> Data {
    let package = try fetched()
    let folder = URL(filePath: test).deletingLastPathComponent()
    return try Self.execute(
      ["python3", folder.appending(path: script).path], environment: ["PYTHONPATH": package.path], input: input,
      otherwise: "\(script) failed")
  }

  private static let debian = URL(filePath: "/usr/lib/python3/dist-packages")

  /// Where the package is.
  private func fetched() throws -> URL {
    if FileManager.default.fileExists(atPath: Self.debian.appending(path: name).path) { return Self.debian }
    let folder = Self.build.appending(path: "python/\(name)-\(version)")
    if FileManager.default.fileExists(atPath: folder.path) { return folder }
    let unfinished = Self.build.appending(
      path: "python/\(name)-\(version).\(ProcessInfo.processInfo.processIdentifier)")
    defer {
      if FileManager.default.fileExists(atPath: unfinished.path) {
        do { try FileManager.default.removeItem(at: unfinished) } catch {
          print("\(unfinished.path) is left: \(error)")
        }
      }
    }
    _ = try Self.execute(
      ["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", unfinished.path, "\(name)==\(version)"],
      otherwise:
        "this test needs Debian's python3-\(name); or python3 with pip and, once, the network, for \(name) from PyPI")
    do {
      try FileManager.default.moveItem(at: unfinished, to: folder)
    } catch  where FileManager.default.fileExists(atPath: folder.path) {
      // Another run was faster.
    }
    return folder
  }

  /// Runs a program for at most two minutes.
  private static func execute(
    _ arguments: [String], environment: [String: String] = [:], input: Data = Data(), otherwise: String
  ) throws -> Data {
    let folder = FileManager.default.temporaryDirectory.appending(path: "sluice-python-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer {
      do { try FileManager.default.removeItem(at: folder) } catch { print("\(folder.path) is left: \(error)") }
    }
    // Files and not pipes: nobody need read while somebody writes.
    let inputFile = folder.appending(path: "input")
    let outputFile = folder.appending(path: "output")
    let errorFile = folder.appending(path: "error")
    try input.write(to: inputFile)
    for file in [outputFile, errorFile] { try Data().write(to: file) }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/timeout")
    process.arguments = ["120"] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = try FileHandle(forReadingFrom: inputFile)
    process.standardOutput = try FileHandle(forWritingTo: outputFile)
    process.standardError = try FileHandle(forWritingTo: errorFile)
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      let words = String(decoding: try Data(contentsOf: errorFile), as: UTF8.self).suffix(2000)
      throw Failure(description: "\(otherwise): \(arguments.joined(separator: " ")) said \(words)")
    }
    return try Data(contentsOf: outputFile)
  }
}
