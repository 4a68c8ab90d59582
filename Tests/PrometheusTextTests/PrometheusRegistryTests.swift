import CoreMetrics
import Testing

@testable import PrometheusText

struct PrometheusRegistryTests {
  private let registry = PrometheusRegistry()

  private func exposed(_ registry: PrometheusRegistry) throws -> Exposed { try Exposed(registry.render()) }

  @Test func `counters count, whole and fractional, with their labels`() throws {
    registry.makeCounter(label: "answers_total", dimensions: [("status", "202")]).increment(by: 3)
    registry.makeCounter(label: "answers_total", dimensions: [("status", "401")]).increment(by: 1)
    registry.makeFloatingPointCounter(label: "seconds_total", dimensions: []).increment(by: 0.25)
    let exposed = try exposed(registry)
    #expect(exposed.types["answers_total"] == "counter")
    #expect(exposed.value("answers_total", ["status": "202"]) == 3)
    #expect(exposed.value("answers_total", ["status": "401"]) == 1)
    #expect(exposed.value("seconds_total") == 0.25)
  }

  @Test func `a counter never goes down and never becomes anything but a number`() throws {
    let counter = registry.makeFloatingPointCounter(label: "c", dimensions: [])
    counter.increment(by: 2)
    for amount: Double in [-1, .nan, .infinity, -Double.infinity] { counter.increment(by: amount) }
    registry.makeCounter(label: "c", dimensions: []).increment(by: -1)
    #expect(try exposed(registry).value("c") == 2)
  }

  @Test func `a counter is exact beyond what a floating point number can hold`() {
    let counter = registry.makeCounter(label: "c", dimensions: [])
    counter.increment(by: 9_007_199_254_740_993)
    #expect(registry.render().hasPrefix("# TYPE c counter\nc 9007199254740993\n"))
  }

  @Test func `resetting starts again at zero`() throws {
    let counter = registry.makeCounter(label: "c", dimensions: [])
    counter.increment(by: 5)
    counter.reset()
    #expect(try exposed(registry).value("c") == 0)
  }

  @Test func `the same name and labels are the same series, in whatever order the labels come`() throws {
    registry.makeCounter(label: "c", dimensions: [("a", "1"), ("b", "2")]).increment(by: 1)
    registry.makeCounter(label: "c", dimensions: [("b", "2"), ("a", "1")]).increment(by: 1)
    #expect(try exposed(registry).value("c", ["a": "1", "b": "2"]) == 2)
  }

  @Test func `meters and recorders that don't aggregate are gauges`() throws {
    let meter = registry.makeMeter(label: "waiting", dimensions: [])
    meter.set(10.5)
    meter.increment(by: 2)
    meter.decrement(by: 0.5)
    registry.makeRecorder(label: "age", dimensions: [], aggregate: false).record(Int64(7))
    let exposed = try exposed(registry)
    #expect(exposed.types["waiting"] == "gauge")
    #expect(exposed.value("waiting") == 12)
    #expect(exposed.value("age") == 7)
  }

  @Test func `a gauge without a value isn't shown, and zero is a value`() throws {
    let never = registry.makeMeter(label: "never", dimensions: [])
    let zero = registry.makeRecorder(label: "zero", dimensions: [], aggregate: false)
    zero.record(Int64(0))
    let none = try exposed(registry)
    #expect(none.types["never"] == nil)
    #expect(none.value("zero") == 0)
    never.decrement(by: 2)
    #expect(try exposed(registry).value("never") == -2)
  }

  @Test func `counters and histograms begin at zero, so that their first increase can be seen`() throws {
    _ = registry.makeCounter(label: "c", dimensions: [])
    _ = registry.makeTimer(label: "t", dimensions: [])
    let exposed = try exposed(registry)
    #expect(exposed.value("c") == 0)
    #expect(exposed.value("t_count") == 0)
  }

  @Test func `a gauge may be no number or without end`() throws {
    registry.makeMeter(label: "a", dimensions: []).set(Double.nan)
    registry.makeMeter(label: "b", dimensions: []).set(-Double.infinity)
    let exposed = try exposed(registry)
    #expect(exposed.value("a")?.isNaN == true)
    #expect(exposed.value("b") == -.infinity)
  }

  @Test func `timers are histograms in seconds`() throws {
    let timer = registry.makeTimer(label: "took_seconds", dimensions: [("route", "push")])
    timer.recordNanoseconds(1_000_000)  // 1 ms, which is a bound: "less or equal".
    timer.recordNanoseconds(1_000_001)
    timer.recordNanoseconds(60_000_000_000)
    timer.recordNanoseconds(-5)
    let exposed = try exposed(registry)
    #expect(exposed.types["took_seconds"] == "histogram")
    #expect(exposed.value("took_seconds_bucket", ["route": "push", "le": "0.0001"]) == 1)
    #expect(exposed.value("took_seconds_bucket", ["route": "push", "le": "0.001"]) == 2)
    #expect(exposed.value("took_seconds_bucket", ["route": "push", "le": "0.0025"]) == 3)
    #expect(exposed.value("took_seconds_bucket", ["route": "push", "le": "10"]) == 3)
    #expect(exposed.value("took_seconds_bucket", ["route": "push", "le": "+Inf"]) == 4)
    #expect(exposed.value("took_seconds_count", ["route": "push"]) == 4)
    let sum = try #require(exposed.value("took_seconds_sum", ["route": "push"]))
    #expect(abs(sum - 60.002_000_001) < 1e-9)
  }

  @Test func `recorders that aggregate are histograms`() throws {
    let recorder = registry.makeRecorder(label: "batch", dimensions: [], aggregate: true)
    recorder.record(Int64(3))
    recorder.record(5.0)
    recorder.record(Double.nan)
    recorder.record(Double.infinity)
    let exposed = try exposed(registry)
    #expect(exposed.value("batch_bucket", ["le": "4"]) == 1)
    #expect(exposed.value("batch_bucket", ["le": "16777216"]) == 2)
    #expect(exposed.value("batch_count") == 2)
    #expect(exposed.value("batch_sum") == 8)
  }

  @Test func `names and labels become what Prometheus allows`() throws {
    registry.makeCounter(
      label: "http.server.2xx-Größe", dimensions: [("user-agent", "x"), ("__name__", "y"), ("le", "z"), ("", "w")]
    ).increment(by: 1)
    registry.makeCounter(label: "2nd", dimensions: []).increment(by: 1)
    registry.makeCounter(label: "", dimensions: []).increment(by: 1)
    let exposed = try exposed(registry)
    #expect(
      exposed.value("http_server_2xx_Gr__e", ["user_agent": "x", "_name__": "y", "exported_le": "z", "_": "w"]) == 1)
    #expect(exposed.value("_2nd") == 1)
    #expect(exposed.value("_") == 1)
  }

  @Test func `a label that comes twice counts once`() throws {
    registry.makeCounter(label: "c", dimensions: [("a.b", "1"), ("a_b", "2")]).increment(by: 1)
    #expect(try exposed(registry).value("c", ["a_b": "1"]) == 1)
  }

  @Test func `label values and help texts come through as they are`() throws {
    var options = PrometheusRegistry.Options()
    options.help = ["c.total": "One\\two\nthree \"four\""]
    let registry = PrometheusRegistry(options)
    let value = "back\\slash \"quote\" new\nline } = , ä 🦆"
    registry.makeCounter(label: "c.total", dimensions: [("path", value)]).increment(by: 1)
    let exposed = try exposed(registry)
    #expect(exposed.help["c_total"] == "One\\two\nthree \"four\"")
    #expect(exposed.value("c_total", ["path": value]) == 1)
  }

  @Test func `no line end gets into a line`() throws {
    registry.makeCounter(label: "c", dimensions: [("path", "a\r\nb\rc\n")]).increment(by: 1)
    #expect(try exposed(registry).value("c", ["path": "a \nb c\n"]) == 1)
  }

  @Test func `a long label value is cut`() throws {
    registry.makeCounter(label: "c", dimensions: [("path", String(repeating: "x", count: 1_000))]).increment(by: 1)
    #expect(try exposed(registry).value("c", ["path": String(repeating: "x", count: 256)]) == 1)
  }

  @Test func `families and series always come in the same order`() {
    let other = PrometheusRegistry()
    let names = ["c", "a", "b", "a_b"]
    let values = ["2", "10", "1"]
    for name in names { for value in values { _ = registry.makeCounter(label: name, dimensions: [("v", value)]) } }
    for value in values.reversed() {
      for name in names.reversed() { _ = other.makeCounter(label: name, dimensions: [("v", value)]) }
    }
    #expect(registry.render() == other.render())
    #expect(
      registry.render().split(separator: "\n").filter { !$0.hasPrefix("#") }.prefix(3) == [
        "a{v=\"1\"} 0", "a{v=\"10\"} 0", "a{v=\"2\"} 0",
      ])
  }

  @Test func `beyond the limit nothing is counted but the refusals`() throws {
    var options = PrometheusRegistry.Options()
    options.seriesLimit = 4  // Two of them are the registry's own.
    let registry = PrometheusRegistry(options)
    for number in 0..<10 { registry.makeCounter(label: "c", dimensions: [("n", "\(number)")]).increment(by: 1) }
    // One that is known may be asked for again.
    registry.makeCounter(label: "c", dimensions: [("n", "0")]).increment(by: 1)
    let exposed = try exposed(registry)
    #expect(exposed.samples.count(where: { $0.name == "c" }) == 2)
    #expect(exposed.value("c", ["n": "0"]) == 2)
    #expect(exposed.value("metrics_refused_total", ["reason": "limit"]) == 8)
    #expect(exposed.value("metrics_refused_total", ["reason": "conflict"]) == 0)
  }

  @Test func `two kinds under one name can't be told apart, so the second is refused`() throws {
    registry.makeCounter(label: "x.y", dimensions: []).increment(by: 1)
    registry.makeMeter(label: "x_y", dimensions: []).set(Int64(5))
    registry.makeTimer(label: "took", dimensions: []).recordNanoseconds(1)
    registry.makeCounter(label: "took_sum", dimensions: []).increment(by: 1)
    registry.makeCounter(label: "n_count", dimensions: []).increment(by: 1)
    registry.makeRecorder(label: "n", dimensions: [], aggregate: true).record(Int64(1))
    let exposed = try exposed(registry)
    #expect(exposed.types["x_y"] == "counter")
    #expect(exposed.value("x_y") == 1)
    #expect(exposed.types["took_sum"] == nil)
    #expect(exposed.types["n"] == nil)
    #expect(exposed.value("metrics_refused_total", ["reason": "conflict"]) == 3)
  }

  @Test func `a destroyed metric is gone, and makes room`() throws {
    var options = PrometheusRegistry.Options()
    options.seriesLimit = 3
    let registry = PrometheusRegistry(options)
    let counter = registry.makeCounter(label: "c", dimensions: [("n", "1")])
    registry.destroyCounter(counter)
    counter.increment(by: 1)
    #expect(try exposed(registry).types["c"] == nil)
    registry.makeCounter(label: "c", dimensions: [("n", "2")]).increment(by: 1)
    #expect(try exposed(registry).value("c", ["n": "2"]) == 1)
    registry.destroyCounter(NOOPMetricsHandler.instance)
    #expect(try exposed(registry).value("c", ["n": "2"]) == 1)
  }

  @Test func `nothing is lost when many count at once while others read and make`() async throws {
    let registry = registry
    await withTaskGroup { group in
      for task in 0..<8 {
        group.addTask {
          let counter = registry.makeCounter(label: "c", dimensions: [])
          let fractional = registry.makeFloatingPointCounter(label: "f", dimensions: [])
          let timer = registry.makeTimer(label: "t", dimensions: [])
          let meter = registry.makeMeter(label: "m", dimensions: [])
          for number in 0..<2_000 {
            counter.increment(by: 1)
            fractional.increment(by: 0.5)
            timer.recordNanoseconds(Int64(number) * 1_000_000)
            meter.increment(by: 1)
            if number % 500 == 0 {
              _ = registry.makeCounter(label: "other", dimensions: [("task", "\(task)"), ("n", "\(number)")])
              #expect(throws: Never.self) { try Exposed(registry.render()) }
            }
          }
        }
      }
    }
    let exposed = try exposed(registry)
    #expect(exposed.value("c") == 16_000)
    #expect(exposed.value("f") == 8_000)
    #expect(exposed.value("t_count") == 16_000)
    #expect(exposed.value("m") == 16_000)
  }

  @Test func `random metrics always render to something valid`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SplitMix(state: seed)
    let alphabet = Array("aB9_:.-é \"\\\n{}=,#le")
    for _ in 0..<200 {
      let registry = PrometheusRegistry()
      func text() -> String {
        String((0..<Int.random(in: 0...6, using: &generator)).map { _ in alphabet.randomElement(using: &generator)! })
      }
      for _ in 0..<10 {
        let label = text()
        let dimensions = (0..<Int.random(in: 0...3, using: &generator)).map { _ in (text(), text()) }
        let value = Double.random(in: -1e20...1e20, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: registry.makeCounter(label: label, dimensions: dimensions).increment(by: Int64(value / 100))
        case 1: registry.makeFloatingPointCounter(label: label, dimensions: dimensions).increment(by: value)
        case 2: registry.makeMeter(label: label, dimensions: dimensions).set(value)
        case 3: registry.makeRecorder(label: label, dimensions: dimensions, aggregate: true).record(value)
        default: registry.makeTimer(label: label, dimensions: dimensions).recordNanoseconds(Int64(value / 100))
        }
      }
      let rendered = registry.render()
      #expect(throws: Never.self, "seed \(seed):\n\(rendered)") { try Exposed(rendered) }
    }
  }
}

/// A generator that can be started again from its seed.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
