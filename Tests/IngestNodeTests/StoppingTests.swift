// How connections end when the node does: first they are told with their next answer, so that balancers and clients go
// elsewhere by themselves; then those that are idle are closed, and the others after what they are at.

import HTTPFraming
import KeyReplica
import Listening
import Testing

@testable import IngestNode

@Suite struct StoppingTests {
  @Test func `when the node is to end the next answer is the last one`() throws {
    let client = EmbeddedClient()
    client.send(.post())
    client.stopping.set()
    #expect(client.isOpen, "an idle connection isn't closed yet: a request may be on its way")
    client.send(.post() + .post())
    let answers = try client.answers()
    #expect(answers.map(\.status) == [202, 202] && answers.map(\.closes) == [false, true])
    #expect(client.outputIsClosed)
  }

  @Test func `so is the answer to a request that is under way`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")), .later(.success(ScriptedGate.id)))
    client.send(.head(key: "slow", length: 3))
    client.stopping.set()
    client.gateSays()
    client.send("abc")
    client.gateSays()
    #expect(try client.answer().closes)
  }

  @Test func `and one that says no`() throws {
    for request in [String.post(key: "bad"), .post(to: "/nowhere"), .post(key: nil)] {
      let client = EmbeddedClient()
      client.stopping.set()
      client.send(request)
      #expect(try client.answer().closes)
    }
  }

  @Test func `an idle connection closes when connections end`() {
    for sent in ["", String.post()] {
      let client = EmbeddedClient()
      client.send(sent)
      client.quiesce()
      #expect(!client.isOpen)
    }
  }

  @Test func `a busy one closes after its answer`() throws {
    for begun in ["POST /v1", .head(length: 3), .head(length: 3) + "abc"] {
      let client = EmbeddedClient()
      client.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
      client.send(begun)
      client.quiesce()
      #expect(client.isOpen)
      client.send((.head(length: 3) + "abc" + .post()).utf8.dropFirst(begun.utf8.count))
      client.gateSays()
      #expect(try client.answer().closes)
      #expect(client.gate.pushes.count == 1 && client.outputIsClosed)
    }
  }

  @Test func `an answer that isn't read yet isn't lost by that`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(.post())
    client.quiesce()
    client.readAgain()
    #expect(try client.statuses() == [202])
    #expect(!client.isOpen)
  }

  @Test func `what a client sent ahead is thrown away before its connection is closed`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    var sent = 0
    while client.isWritable {
      client.send(.request("GET /nowhere HTTP/1.1", []))
      sent += 1
    }
    client.send(.post() + .post())
    client.quiesce()
    client.readAgain()
    #expect(try client.statuses() == Array(repeating: 404, count: sent))
    // Closing a socket that has unread bytes resets the connection, and the client may lose its answers.
    #expect(client.outputIsClosed && client.isOpen && client.unreadBytes == 0)
    #expect(client.gate.pushes.isEmpty)
    client.halfClose()
    #expect(!client.isOpen)
  }
}
