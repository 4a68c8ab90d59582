import Foundation
import IngestQueue
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

struct FileSinkTests {
  private func delivery(_ number: Int, bytes: Int = 3) -> Delivery {
    let body = [UInt8](repeating: 0x78, count: bytes)
    return Delivery(header: .numbered(number), body: DecodedBody(bytes: body[...], undone: nil))
  }

  private func names(_ place: FilesPlace) throws -> [String] { try FilesPlace.files(in: place.folder).map(\.name) }

  @Test func `a line that was cut off is cut away at the start, and its payload stored when it comes again`()
    async throws
  {
    let place = try FilesPlace()
    let first = try place.open()
    #expect(try await first.store([delivery(1), delivery(2)]) == [.stored, .stored])
    try await first.close()
    let path = place.folder + "/payloads.jsonl"
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    let lineEnd = try #require(whole.firstIndex(of: UInt8(ascii: "\n")))
    // Every place at which a write can have ended.
    for end in [lineEnd + 2, lineEnd + 20, lineEnd + 60, whole.count - 1] {
      try whole[..<end].write(to: URL(fileURLWithPath: path))
      let sink = try place.open()
      #expect(try await sink.store([delivery(1), delivery(2)]) == [.duplicate, .stored], "cut off at \(end)")
      #expect(try await place.stored() == [1, 2].map { place.expected(delivery($0)) })
      try await sink.close()
    }
  }

  @Test func `a file that is large enough is finished, compressed, and its ids are known after a restart`() async throws
  {
    let place = try FilesPlace(query: "?size=1")
    let first = try place.open()
    for number in 0..<4 { #expect(try await first.store([delivery(number, bytes: 400_000)]) == [.stored]) }
    #expect(try await first.store([delivery(0)]) == [.duplicate])
    // It waits for what is being compressed.
    try await first.close()
    let names = try names(place)
    #expect(names.count == 2 && names[0].hasSuffix(".jsonl.zst") && names[1] == "payloads.jsonl", "\(names)")
    let second = try place.open()
    #expect(
      try await second.store((0..<5).map { delivery($0) }) == [.duplicate, .duplicate, .duplicate, .duplicate, .stored])
    #expect(try await place.stored().count == 5)
    try await second.close()
  }

  @Test func `a file that is old enough is finished, though nothing more comes`() async throws {
    let place = try FilesPlace(query: "?age=1")
    let sink = try place.open()
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await eventually("it is finished and compressed") {
      try names(place).contains { $0.hasSuffix(".zst") } && names(place).count == 2
    }
    #expect(try await sink.store([delivery(1), delivery(2)]) == [.duplicate, .stored])
    #expect(try await place.stored().count == 2)
    try await sink.close()
  }

  @Test func `what a crash leaves of finishing a file is finished at the next start`() async throws {
    let place = try FilesPlace(query: "?size=1")
    let first = try place.open()
    #expect(try await first.store([delivery(1, bytes: 1_200_000)]) == [.stored])
    try await first.close()
    let packed = try #require(try names(place).first { $0.hasSuffix(".zst") })
    let plain = String(packed.dropLast(4))
    let manager = FileManager.default
    // Killed after the rename, before the plain one was removed.
    let contents = try #require(try FilesPlace.files(in: place.folder).first).contents
    try Data(contents).write(to: URL(fileURLWithPath: "\(place.folder)/\(plain)"))
    // And another, in the middle of compressing.
    let other = "payloads-20200101T000000.000Z.jsonl"
    try Data(String(decoding: contents, as: UTF8.self).replacing("acme", with: "emca").utf8)
      .write(to: URL(fileURLWithPath: "\(place.folder)/\(other)"))
    try Data([1, 2, 3]).write(to: URL(fileURLWithPath: "\(place.folder)/\(other).zst.part"))
    let second = try place.open()
    try await second.close()
    let left = try manager.contentsOfDirectory(atPath: place.folder).filter { !$0.hasPrefix(".") }.sorted()
    #expect(left == [other + ".zst", packed, "payloads.jsonl"].sorted())
    #expect(try await place.stored().map(\.account).sorted() == ["acme", "emca"])
  }

  @Test func `a second process is told who has the folder`() async throws {
    let place = try FilesPlace()
    let first = try place.open()
    let error = #expect(throws: SinkFailure.self) { try place.open() }
    #expect(error?.description.contains("process \(getpid()) on ") == true, "\(String(describing: error))")
    try await first.close()
    try await place.open().close()
  }

  @Test func `a folder that can't be made is said so`() {
    let error = #expect(throws: SinkFailure.self) {
      try FileSink(FileSinkAddress(folder: "/nowhere/at/all"), logger: .silent)
    }
    #expect(error?.description == "mkdir of /nowhere/at/all failed: No such file or directory")
  }
}
