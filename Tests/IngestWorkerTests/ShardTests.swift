import Fleet
import Hiredis
import IngestQueue
import IngestWorker
import Logging
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import Testing

/// One worker, several shards of the queue.
struct ShardTests {
  @Test func `all shards on one Redis are drained, each by its own keys`() async throws {
    try await WorkBench.with { bench in
      let layouts = (0..<3).map { QueueLayout(shard: $0) }
      for (place, layout) in layouts.enumerated() {
        try await bench.push(
          (place * 100..<place * 100 + 100).map { .numbered($0) }, payload: ByteBuffer(string: "payload"),
          with: QueueProducer(client: bench.client, layout: layout))
      }
      let sink = ScriptedSink()
      // More shards than lanes: each has one all the same.
      let worker = try bench.worker(
        sink: sink, shards: layouts.map { QueueShard(endpoint: bench.server.endpoint, layout: $0) }
      ) { $0.lanes = 2 }
      try await bench.running(worker) {
        try await eventually("all is stored") { Set(sink.stored) == Set(0..<300) }
        for layout in layouts {
          try await eventually("the shard is empty") {
            let state = try await bench.state(layout)
            return state.pending + state.later + state.claimed == 0
          }
          let state = try await bench.state(layout)
          #expect(state.done == 100)
          #expect(state.workers.map(\.name) == ["worker-1"])
          #expect(state.workers.map(\.instance) == [worker.report.instance], "one life, one instance in all shards")
        }
        #expect(worker.report.troubles.isEmpty)
      }
      #expect(sink.stored.count == 300)
      for layout in layouts {
        #expect(try await bench.state(layout).workers.isEmpty, "it takes itself off every shard's list")
      }
    }
  }

  @Test func `a shard that hangs or is away stops no other, the report names it, and it is drained when it is back`()
    async throws
  {
    try await WorkBench.with { bench in
      try await withRedis(RedisServerOptions { $0.appendOnly = .always }) { other in
        let client = RedisClient(
          endpoint: other.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)),
          on: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
        defer { client.shutDown() }
        _ = try await client.connection(within: .seconds(5)).get()
        let layout = QueueLayout(shard: 1)
        let producer = QueueProducer(client: client, layout: layout)
        func push(_ numbers: Range<Int>) async throws {
          try await bench.push(numbers.map { .numbered($0) }, payload: ByteBuffer(string: "payload"), with: producer)
        }
        let sink = ScriptedSink()
        let worker = try bench.worker(
          sink: sink,
          shards: [
            QueueShard(endpoint: bench.server.endpoint, layout: QueueLayout()),
            QueueShard(endpoint: other.endpoint, layout: layout),
          ]
        ) {
          $0.lanes = 1
          $0.consumer.deadline = .milliseconds(500)
        }
        try await bench.running(worker) {
          try await push(0..<10)
          try await bench.push(10..<20)
          try await eventually("both shards are worked on") { Set(sink.stored) == Set(0..<20) }

          try await other.pause()
          try await bench.push(20..<120)
          try await eventually("the first shard goes on beside one that hangs") {
            Set(sink.stored).isSuperset(of: 20..<120)
          }
          try await eventually("the report names the shard") {
            worker.report.troubles.count == 1 && worker.report.troubles[0].hasPrefix("shard 1: ")
          }
          #expect(worker.report.state == .trouble)
          try other.resume()
          try await eventually("it is well again") { worker.report.troubles.isEmpty }

          try await eventually("the producer is connected again") { try await client.isConnected().get() }
          try await push(120..<220)
          try await other.kill9()
          try await eventually("the worker has noticed") { worker.report.troubles.count == 1 }
          try await bench.push(220..<320)
          try await eventually("the first shard goes on beside one that is away") {
            Set(sink.stored).isSuperset(of: 220..<320)
          }
          try await other.restart()
          try await eventually("nothing is lost") { Set(sink.stored) == Set(0..<320) }
          try await eventually("it is well again") { worker.report.troubles.isEmpty }
        }
        #expect(worker.report.dead == 0)
      }
    }
  }

  @Test func `a worker whose name is taken in one shard ends in all of them`() async throws {
    try await WorkBench.with { bench in
      let shards = (0..<2).map { QueueShard(endpoint: bench.server.endpoint, layout: QueueLayout(shard: $0)) }
      let elder = try bench.worker("same", sink: ScriptedSink(), shards: shards)
      let ended = Task { try await elder.run() }
      try await eventually("the elder is on both lists") {
        let lists = [try await bench.state().workers, try await bench.state(QueueLayout(shard: 1)).workers]
        return lists.allSatisfy { $0.count == 1 }
      }
      // It knows of the second shard only.
      let younger = try bench.worker("same", sink: ScriptedSink(), shards: [shards[1]])
      try await bench.running(younger) {
        let error = await #expect(throws: WorkerNameTaken.self) { try await ended.value }
        #expect(error?.by == younger.report.instance)
      }
      #expect(try await bench.state().workers.isEmpty)
    }
  }
}
