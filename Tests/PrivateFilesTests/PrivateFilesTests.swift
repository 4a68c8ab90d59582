// All files and folders that the commands create: who may read them under any umask, and what happens if a link is in
// their place.

import Foundation
import IngestQueue
import IngestSpool
import KeyReplica
import Logging
import PrivateFiles
import QueueFixture
import RedisFixture
import Synchronization
import Testing

@testable import IngestWorker
@testable import KeyStore

/// Whoever makes files, and which.
enum FileMaker: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case sqlite, files, spool, state

  var testDescription: String { rawValue }

  /// Of the places in a folder at which it opens a file.
  var places: [String] {
    switch self {
    case .sqlite: ["payloads.sqlite", "payloads.sqlite-wal", "payloads.sqlite-shm", "payloads.sqlite-journal"]
    case .files: ["made/payloads.jsonl", "made/.lock"]
    case .spool: ["made/spool.sqlite", "made/lock", "made/spool.sqlite-journal"]
    case .state: ["made/mirror.sluice"]
    }
  }

  /// Makes all its files in a folder.
  func run(in folder: String) async throws {
    switch self {
    case .sqlite:
      let sink = try SQLiteSink(path: "\(folder)/payloads.sqlite")
      try await store(in: sink, folder)
    case .files:
      let sink = try SinkAddress("files:\(folder)/made?size=1").open(logger: .silent)
      // More than the size, so that a file is finished and compressed.
      try await store(in: sink, folder, body: [UInt8](repeating: 0x78, count: 1_500_000))
    case .spool:
      let spool = try Spool(folder: "\(folder)/made", logger: .silent)
      try Self.note(folder)
      _ = try await spool.close()
    case .state:
      let file = try StateFile(folder: "\(folder)/made")
      _ = try file.load(source: "a test")
      try file.save(Self.image)
      _ = try file.load(source: "a test")
    }
  }

  private func store(in sink: any Sink, _ folder: String, body: [UInt8] = [1]) async throws {
    let delivery = Delivery(header: .numbered(1), body: DecodedBody(bytes: body[...], undone: nil))
    #expect([[.stored], [.duplicate]].contains(try await sink.store([delivery])))
    try Self.note(folder)
    try await sink.close()
  }

  /// Checks while everything is open: some files are removed when their process ends.
  static func note(_ folder: String) throws { seen.withLock { $0[folder] = FileModes(in: folder) } }

  static let seen = Mutex<[String: FileModes]>([:])

  private static var image: MirrorImage {
    MirrorImage(source: "a test", heardAt: 0, announced: 0, table: KeyTable(bucketCount: StoreLayout.bucketCount))
  }
}

/// The modes of all in a folder.
struct FileModes: Sendable {
  private(set) var files: [String: Int] = [:]
  private(set) var folders: [String: Int] = [:]

  init(in folder: String) {
    for case let name as String in FileManager.default.enumerator(atPath: folder) ?? .init() {
      var status = stat()
      guard lstat("\(folder)/\(name)", &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        folders[name] = Int(status.st_mode & 0o7777)
      } else {
        files[name] = Int(status.st_mode & 0o7777)
      }
    }
  }
}

/// One at a time, because the umask is the whole process's.
@Suite(.serialized) struct PrivateFilesTests {
  @Test(arguments: FileMaker.allCases, [0o000, 0o022])
  func `files have mode 0600 and folders 0700, whatever the umask is`(maker: FileMaker, mask: mode_t) async throws {
    let folder = try TemporaryFolder()
    let before = umask(mask)
    defer { umask(before) }
    try await maker.run(in: folder.path)
    for modes in [FileMaker.seen.withLock { $0[folder.path] }, FileModes(in: folder.path)].compactMap({ $0 }) {
      #expect(!modes.files.isEmpty)
      #expect(modes.files.allSatisfy { $1 == 0o600 }, "\(modes.files)")
      #expect(modes.folders.allSatisfy { $1 == 0o700 }, "\(modes.folders)")
    }
  }

  @Test(arguments: FileMaker.allCases)
  func `a link in a file's place is refused with a sentence, and its target isn't touched`(maker: FileMaker)
    async throws
  {
    for place in maker.places {
      for isDangling in [false, true] {
        let folder = try TemporaryFolder()
        let made = (folder.path(place) as NSString).deletingLastPathComponent
        if made != folder.path { try PrivateFolder.makeNew(made) }
        let target = folder.path("target")
        if !isDangling { try Data("precious".utf8).write(to: URL(fileURLWithPath: target)) }
        try FileManager.default.createSymbolicLink(atPath: folder.path(place), withDestinationPath: target)
        let error = await #expect(throws: (any Error).self, "\(place)") { try await maker.run(in: folder.path) }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("is a link to \(target)") && text.contains("remove the link"), "\(place): \(text)")
        #expect(PrivateFile.exists(target) == !isDangling)
        if !isDangling { #expect(try Data(contentsOf: URL(fileURLWithPath: target)) == Data("precious".utf8)) }
      }
    }
  }

  @Test(arguments: FileMaker.allCases)
  func `files that others may read, of an older build, are tightened`(maker: FileMaker) async throws {
    let folder = try TemporaryFolder()
    try await maker.run(in: folder.path)
    for place in maker.places where PrivateFile.exists(folder.path(place)) {
      #expect(chmod(folder.path(place), 0o644) == 0)
    }
    try await maker.run(in: folder.path)
    for place in maker.places {
      #expect((FileModes(in: folder.path).files[place] ?? 0o600) == 0o600, "\(place)")
    }
  }

  @Test(arguments: FileMaker.allCases)
  func `a folder that everybody may write to is refused, and one with the sticky bit isn't`(maker: FileMaker)
    async throws
  {
    let parent = try TemporaryFolder()
    let folder = maker == .sqlite ? parent.path : parent.path("made")
    if maker != .sqlite { try PrivateFolder.makeNew(folder) }
    #expect(chmod(folder, 0o777) == 0)
    let error = await #expect(throws: (any Error).self) { try await maker.run(in: parent.path) }
    #expect(error.map { "\($0)" }?.contains("every user can write to the folder \(folder)") == true)
    #expect(chmod(folder, 0o1777) == 0)
    try await maker.run(in: parent.path)
  }

  @Test func `a state file is saved past a link that was put in the place of its temporary file`() throws {
    let folder = try TemporaryFolder()
    let file = try StateFile(folder: folder.path)
    try Data("precious".utf8).write(to: folder.url("target"))
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("mirror.sluice.new"), withDestinationPath: folder.path("target"))
    try file.save(
      MirrorImage(source: "s", heardAt: 0, announced: 0, table: KeyTable(bucketCount: StoreLayout.bucketCount)))
    #expect(try Data(contentsOf: folder.url("target")) == Data("precious".utf8))
    #expect(try file.load(source: "s") != nil)
    #expect(FileModes(in: folder.path).files["mirror.sluice"] == 0o600)
  }

  @Test func `a pipe, a folder or another user's file in a file's place is refused, and nothing waits for it`() throws {
    let folder = try TemporaryFolder()
    #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
    try PrivateFolder.makeNew(folder.path("folder"))
    for (name, kind) in [("pipe", "a pipe"), ("folder", "a folder")] {
      let error = #expect(throws: UnusablePath.self) { try PrivateFile.open(folder.path(name), O_RDONLY) }
      #expect(error?.description.contains("is not a file but \(kind)") == true, "\(String(describing: error))")
    }
    try Data().write(to: folder.url("foreign"))
    guard chown(folder.path("foreign"), 65_534, 65_534) == 0 else { return }
    let error = #expect(throws: UnusablePath.self) { try PrivateFile.open(folder.path("foreign"), O_RDWR) }
    #expect(error?.description.contains("belongs to user 65534") == true)
  }

  @Test func `programs that a process starts don't get its files`() throws {
    let folder = try TemporaryFolder()
    let descriptor = try PrivateFile.open(folder.path("file"), O_RDWR | O_CREAT)
    defer { close(descriptor) }
    #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
  }

  @Test func `a file without a name is private, and nothing of it is in its folder`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-test-\(UUID().uuidString)").path
    try PrivateFolder.makeNew(folder)
    defer { rmdir(folder) }
    let descriptor = try PrivateFile.unnamed(in: folder)
    defer { close(descriptor) }
    #expect(write(descriptor, "abc", 3) == 3)
    var status = stat()
    #expect(fstat(descriptor, &status) == 0 && status.st_mode & 0o777 == 0o600 && status.st_size == 3)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    #expect(throws: UnusablePath.self) { try PrivateFile.unnamed(in: folder + "/nowhere") }
  }
}
