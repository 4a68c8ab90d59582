import PostgresClient
import Testing

@testable import IngestWorker

struct SinkAddressTests {
  @Test func `an address reads as it is written`() throws {
    #expect(try SinkAddress("sqlite:/a/b.db") == .sqlite(path: "/a/b.db"))
    #expect(try SinkAddress("sqlite:a:b").description == "sqlite:a:b")
    guard case .files(let files) = try SinkAddress("files:/a/b?size=3&age=60") else {
      Issue.record("no folder")
      return
    }
    #expect(files == FileSinkAddress(folder: "/a/b", size: 3 << 20, age: .seconds(60)))
    guard case .http(let http) = try SinkAddress("https://h:1/p?a=b%26c&batch=ndjson&concurrency=3&timeout=7") else {
      Issue.record("no receiver")
      return
    }
    #expect(http.url == "https://h:1/p?a=b%26c")
    #expect(http.form == .ndjson && http.concurrency == 3 && http.timeout == .seconds(7) && http.authorization == nil)
    guard case .postgres(let postgres) = try SinkAddress("postgresql://u@h:1,i:2/d?table=s.t&sslmode=require") else {
      Issue.record("no table")
      return
    }
    #expect(postgres.table == "\"s\".\"t\"")
    let options = Dictionary(uniqueKeysWithValues: postgres.options.map { ($0.keyword, $0.value) })
    #expect(options["host"] == "h,i" && options["port"] == "1,2" && options["sslmode"] == "require")
    #expect(options["dbname"] == "d" && options["user"] == "u" && options["password"] == nil)
    #expect("\(postgres)" == "postgres://u@h:1,i:2/d?table=s.t")
  }

  @Test(arguments: [
    "postgres://me:s3cret@host:5432/db?table=t", "postgres://me:x%40s3cret@host/db?password=s3cret",
    "postgres://me:a@s3cret@host/db", "https://me:s3cret@host/path?token=s3cret", "http://s3cret@host/",
  ])
  func `no address shows its password`(text: String) throws {
    let address = try SinkAddress(text)
    let sink = "\(address)"
    #expect(!sink.contains("s3cret"), "\(sink)")
    #expect(sink.contains("host"))
  }

  @Test(arguments: [
    ("", "sqlite:PATH"), ("sqlite", "sqlite:PATH"), ("sqlite:", "sqlite:PATH"), ("/a/b.db", "sqlite:PATH"),
    ("mysql://u:s3cret@h/d", "mysql:…"), ("files:", "files:FOLDER"), ("files:/a?size=0", "size=0"),
    ("files:/a?colour=red", "colour=red"), ("http://", "http://host:port/path"), ("http://h/?batch=csv", "batch="),
    ("https://h/?concurrency=65", "concurrency="), ("https://h/?timeout=0", "timeout="),
    ("postgres://u:s3cret@h/d?table=a;b", "table=NAME"), ("postgres://u:s3cret@h/d?table=a.b.c", "table=NAME"),
    ("postgres://u:s3cret%@h/d", "postgres://"), ("postgres://u:s3cret@h/d?colour=red", "libpq options only"),
  ])
  func `what is no address is refused with what was expected, and without secrets`(text: String, word: String) {
    let error = #expect(throws: InvalidSinkAddress.self) { try SinkAddress(text) }
    let words = error?.description ?? ""
    #expect(words.contains("expected") && words.contains(word), "\(words)")
    #expect(!words.contains("s3cret"))
  }
}
