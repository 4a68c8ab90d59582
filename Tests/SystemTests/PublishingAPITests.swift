// Tests the publisher's HTTP API with the real program: changes are in the store and confirmed when they are answered,
// and an error has a code that a program can act on.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOHTTP1
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(5))) struct PublishingAPITests {
  private func withAPI(
    _ arguments: [String] = [], _ body: (Deployment, PublishingAPI) async throws -> Void
  ) async throws {
    let deployment = try await Deployment()
    try await body(deployment, try await PublishingAPI(at: deployment, arguments))
  }

  private func id(_ secret: String) -> String { KeyID(secret: secret.utf8).hex }

  @Test func `a key lives from put to revoke, and twice the same is once`() async throws {
    try await withAPI { _, api in
      let id = id("sk_1")
      var answer = try await api.put("sk_1")
      #expect(answer.status == 200 && answer.changed == true && answer.version == 1, "\(answer)")
      #expect(answer.json["key_id"] as? String == id && answer.json["account"] as? String == "acme", "\(answer)")
      #expect(answer.headers["content-type"] == ["application/json"] && !answer.body.contains("sk_1"), "\(answer)")
      for again in [
        try await api.put("sk_1"), try await api.send(.PUT, "/v1/keys/\(id)", #"{"account":"acme"}"#),
        try await api.send(.PATCH, "/v1/keys/\(id)", #"{"state":"active"}"#),
      ] {
        #expect(again.status == 200 && again.changed == false && again.version == 1, "\(again)")
      }
      for (index, state) in ["suspended", "active", "revoked"].enumerated() {
        answer = try await api.send(.PATCH, "/v1/keys/\(id)", "{\"state\":\"\(state)\"}")
        #expect(answer.status == 200 && answer.state == state && answer.version == index + 2, "\(answer)")
        answer = try await api.send(.GET, "/v1/keys/\(id.uppercased())")
        #expect(answer.status == 200 && answer.state == state && answer.version == index + 2, "\(answer)")
        #expect(answer.json["since"] is Int && answer.json["account"] as? String == "acme", "\(answer)")
      }
      let head = try await api.send(.HEAD, "/v1/keys/\(id)")
      #expect(head.status == 200 && head.body.isEmpty && head.headers["content-length"].first != "0", "\(head)")
    }
  }

  @Test func `what stands against a change is told by a code, and changes nothing`() async throws {
    try await withAPI { _, api in
      let path = "/v1/keys/\(id("sk_1"))"
      let missing = try await api.send(.PATCH, path, #"{"state":"revoked"}"#)
      #expect(missing.status == 404 && missing.code == "unknown_key", "\(missing)")
      let none = try await api.send(.GET, path)
      #expect(none.status == 409 && none.code == "no_store", "\(none)")
      _ = try await api.put("sk_1", "acme", #","revision":7"#)
      let read = try await api.send(.GET, "/v1/keys/\(id("other"))")
      #expect(read.status == 404 && read.code == "unknown_key", "\(read)")

      let account = try await api.put("sk_1", "other")
      #expect(account.status == 409 && account.code == "other_account", "\(account)")
      #expect(account.remedy.contains("\"change_account\": true"), "\(account)")
      let older = try await api.send(.PATCH, path, #"{"state":"suspended","revision":6}"#)
      #expect(older.status == 409 && older.code == "older_revision", "\(older)")
      _ = try await api.send(.PATCH, path, #"{"state":"suspended"}"#)
      let suspended = try await api.put("sk_1")
      #expect(suspended.status == 409 && suspended.code == "suspended", "\(suspended)")
      #expect(suspended.remedy.contains("\"reactivate\": true"), "\(suspended)")
      let newer = try await api.send(.PATCH, path, #"{"state":"revoked","if_version":1}"#)
      #expect(newer.status == 409 && newer.code == "newer_version", "\(newer)")
      _ = try await api.send(.PATCH, path, #"{"state":"revoked","if_version":2}"#)
      for late in [
        try await api.put("sk_1"), try await api.send(.PATCH, path, #"{"state":"active"}"#),
        try await api.send(.PATCH, path, #"{"state":"suspended"}"#),
      ] {
        #expect(late.status == 409 && late.code == "revoked", "\(late)")
        #expect(late.message.contains("is revoked") && late.message.hasSuffix("Nothing was changed"), "\(late)")
      }
      #expect(try await api.send(.GET, path).version == 3)
      let back = try await api.put("sk_1", "other", #","reactivate":true,"change_account":true"#)
      #expect(back.status == 200 && back.state == "active" && back.version == 4, "\(back)")
    }
  }

  @Test func `a key whose record can't be read is an error of the store, and no unknown key`() async throws {
    try await withAPI { deployment, api in
      _ = try await api.put("sk_1")
      let key = KeyID(secret: "sk_1".utf8)
      let bucket = StoreLayout().bucket(key.bucket(of: StoreLayout.bucketCount))
      try await deployment.redis.run("HSET", bucket, key.bytes, "1 r 5")
      let path = "/v1/keys/\(id("sk_1"))"
      for answer in [
        try await api.put("sk_1", "acme", #","reactivate":true"#), try await api.send(.GET, path),
        try await api.send(.PATCH, path, #"{"state":"revoked"}"#),
      ] {
        #expect(answer.status == 500 && answer.code == "damaged_record", "\(answer)")
        #expect(answer.remedy.contains("key-publisher verify"), "\(answer)")
      }
      let batch = try await api.send(
        .POST, "/v1/keys:batch", #"{"changes":[{"key":"sk_1","account":"acme"},{"key":"sk_2","account":"acme"}]}"#)
      #expect(batch.status == 200 && batch.body.contains("damaged_record"), "\(batch)")
      #expect(batch.json["changed"] as? Int == 1 && batch.json["left"] as? Int == 1, "\(batch)")
    }
  }

  @Test func `a batch is one step, and says of each change what became of it`() async throws {
    try await withAPI { _, api in
      _ = try await api.put("revoked")
      _ = try await api.send(.PATCH, "/v1/keys/\(id("revoked"))", #"{"state":"revoked"}"#)
      let changes =
        (0..<253).map { #"{"key":"sk_\#($0)","account":"acme"}"# }
        + [
          #"{"key":"revoked","account":"acme"}"#, #"{"key_id":"\#(id("unknown"))","state":"suspended"}"#,
          #"{"key":"sk_0","state":"suspended"}"#,
        ]
      let answer = try await api.send(.POST, "/v1/keys:batch", "{\"changes\":[\(changes.joined(separator: ","))]}")
      #expect(answer.status == 200 && answer.version == 2 + 254, "\(answer.status) \(answer.body.prefix(200))")
      #expect(answer.json["changed"] as? Int == 254 && answer.json["left"] as? Int == 2)
      let results = try #require(answer.json["results"] as? [[String: Any]])
      #expect(results.count == 256 && results[253]["code"] as? String == "revoked", "\(results[253])")
      #expect(results[254]["code"] as? String == "unknown_key" && results[255]["state"] as? String == "suspended")
      let bad = try await api.send(
        .POST, "/v1/keys:batch", #"{"changes":[{"key":"new","account":"acme"},{"key":"b","state":"gone"}]}"#)
      #expect(bad.status == 400 && bad.message.hasPrefix("changes[1].state: "), "\(bad)")
      #expect(try await api.send(.GET, "/v1/keys/\(id("new"))").status == 404, "nothing of it was taken")
    }
  }

  @Test func `all keys of an account are changed, or counted`() async throws {
    try await withAPI { deployment, api in
      try await deployment.publish(keys: 40, accounts: 4)
      let path = "/v1/accounts/account-1"
      var answer = try await api.send(.POST, path + "/suspend", #"{"dry_run":true}"#)
      #expect(answer.status == 200 && answer.json["changed"] as? Int == 10, "\(answer)")
      #expect(answer.json["dry_run"] as? Bool == true && answer.version == nil, "\(answer)")
      answer = try await api.send(.POST, path + "/suspend")
      #expect(answer.status == 200 && answer.json["changed"] as? Int == 10 && answer.version != nil, "\(answer)")
      answer = try await api.send(.POST, path + "/activate")
      #expect(answer.json["changed"] as? Int == 10 && answer.state == "active", "\(answer)")
      answer = try await api.send(.POST, path + "/revoke")
      #expect(answer.json["changed"] as? Int == 10 && answer.json["keys"] as? Int == 10, "\(answer)")
      answer = try await api.send(.POST, path + "/activate")
      #expect(answer.status == 200 && answer.json["stay_revoked"] as? Int == 10, "\(answer)")
      answer = try await api.send(.POST, "/v1/accounts/nobody/revoke")
      #expect(answer.status == 404 && answer.code == "unknown_account", "\(answer)")
    }
  }

  @Test func `without a token nothing is told, and the file decides from its next reading`() async throws {
    try await withAPI { _, api in
      let path = "/v1/keys/\(id("sk_1"))"
      func status(_ token: String?, headers: HTTPHeaders = [:]) async throws -> Int {
        let answer = try await api.send(.GET, path, token: token, headers: headers)
        if answer.status == 401 {
          #expect(answer.code == "unauthorized" && answer.headers["www-authenticate"] == ["Bearer"], "\(answer)")
        }
        return answer.status
      }
      _ = try await api.put("sk_1")
      #expect(try await status(PublishingAPI.token) == 200)
      for wrong in [nil, "", PublishingAPI.token + "x"] { #expect(try await status(wrong) == 401) }
      #expect(try await status(nil, headers: ["authorization": "Basic \(PublishingAPI.token)"]) == 401)
      #expect(try await status(nil, headers: ["authorization": "bearer \(PublishingAPI.token)"]) == 200)
      for path in ["/v1/health", "/v1/openapi.json"] {
        #expect(try await api.send(.GET, path, token: nil).status == 200)
      }

      let other = "the-token-of-another-one-2"
      try Data("\(other)\n".utf8).write(to: URL(fileURLWithPath: api.tokens))
      try await eventually("the new token is accepted") { try await status(other) == 200 }
      #expect(try await status(PublishingAPI.token) == 401)
      try Data("half".utf8).write(to: URL(fileURLWithPath: api.tokens))
      api.process.signal(SIGHUP)
      try await api.process.waitForLine(containing: "keeping the previous ones")
      #expect(try await status(other) == 200)
    }
  }

  @Test func `requests that make no sense are answered, each in its way`() async throws {
    try await withAPI { _, api in
      let path = "/v1/keys/\(id("sk_1"))"
      for (method, path, body, status, code) in [
        (.GET, "/", nil, 404, "not_found"), (.GET, "/v1/nothing", nil, 404, "not_found"),
        (.DELETE, path, nil, 405, "method_not_allowed"), (.GET, "/v1/keys", nil, 405, "method_not_allowed"),
        (.PUT, "/v1/keys/sk_secret", #"{"account":"a"}"#, 400, "invalid_request"),
        (.PUT, path + "?if_version=7", #"{"account":"a"}"#, 400, "invalid_request"),
        (.PUT, path, "", 400, "invalid_request"), (.PUT, path, "[]", 400, "invalid_request"),
        (.PUT, path, String(repeating: " ", count: 1 << 20) + " ", 413, "body_too_large"),
        (.POST, "/v1/accounts/%00/revoke", nil, 400, "invalid_request"),
      ] as [(HTTPMethod, String, String?, Int, String)] {
        let answer = try await api.send(method, path, body)
        #expect(answer.status == status && answer.code == code, "\(method) \(path): \(answer)")
        #expect(!answer.body.contains("sk_secret"), "\(answer)")
        if status == 405 { #expect(!answer.headers["allow"].isEmpty, "\(answer)") }
      }
      let form = try await api.send(
        .PUT, path, "account=acme", headers: ["content-type": "application/x-www-form-urlencoded"])
      #expect(form.status == 415 && form.code == "unsupported_media_type", "\(form)")
      let charset = try await api.send(
        .PUT, path, #"{"account":"acme"}"#, headers: ["content-type": "Application/JSON; charset=utf-8"])
      #expect(charset.status == 200, "\(charset)")
    }
  }

  @Test func `while Redis is away the answer is 503, and then all goes on`() async throws {
    try await withAPI { deployment, api in
      _ = try await api.put("sk_1")
      try await deployment.redis.kill9()
      let began = ContinuousClock.now
      let answers = try await withThrowingTaskGroup(
        of: PublishingAPI.Answer.self, returning: [PublishingAPI.Answer].self
      ) { group in
        for number in 0..<8 { group.addTask { try await api.put("sk_\(number)") } }
        group.addTask { try await api.send(.GET, "/v1/keys/\(id("sk_1"))") }
        group.addTask { try await api.send(.POST, "/v1/accounts/acme/revoke") }
        group.addTask { try await api.send(.GET, "/v1/health", token: nil) }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(ContinuousClock.now - began < .seconds(5))
      for answer in answers {
        #expect(answer.status == 503 && answer.headers["retry-after"] == ["1"], "\(answer)")
        #expect(["redis_unreachable", "outcome_unknown"].contains(answer.code ?? ""), "\(answer)")
      }
      try await deployment.redis.restart()
      try await eventually("it goes on") { try await api.put("sk_1").status == 200 }
      try await eventually("healthy") { try await api.send(.GET, "/v1/health", token: nil).status == 200 }
    }
  }

  @Test func `a full Redis takes revocations, also those that come together with puts`() async throws {
    try await withAPI { deployment, api in
      try await deployment.publish(keys: 64)
      try await deployment.redis("CONFIG", "SET", "maxmemory", "1mb")
      let answers = try await withThrowingTaskGroup(
        of: (Bool, PublishingAPI.Answer).self, returning: [(Bool, PublishingAPI.Answer)].self
      ) { group in
        for number in 0..<32 {
          group.addTask { (true, try await api.put("new_\(number)")) }
          let revoked = id(Deployment.key(number))
          group.addTask { (false, try await api.send(.PATCH, "/v1/keys/\(revoked)", #"{"state":"revoked"}"#)) }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      for (isPut, answer) in answers {
        #expect(answer.status == (isPut ? 503 : 200), "\(answer)")
        if isPut { #expect(answer.code == "redis_not_ready" && answer.message.contains("OOM"), "\(answer)") }
      }
    }
  }

  @Test func `a change that replicas don't confirm isn't reported as done`() async throws {
    try await withAPI(["--confirm-wait", "200ms"]) { deployment, api in
      _ = try await api.put("sk_0")
      try await deployment.run("key-publisher", ["replicas", "1", "--confirm-wait", "100ms"], expecting: nil)
      for answer in [
        try await api.put("sk_1"), try await api.put("sk_1"), try await api.send(.POST, "/v1/accounts/acme/suspend"),
        try await api.send(.POST, "/v1/keys:batch", #"{"changes":[{"key":"sk_2","account":"acme"}]}"#),
      ] {
        #expect(answer.status == 503 && answer.code == "not_confirmed", "\(answer)")
        #expect(answer.message.contains("0 of 1 declared replicas"), "\(answer)")
      }
      try await deployment.run("key-publisher", ["replicas", "0"])
      let answer = try await api.put("sk_1", "acme", #","reactivate":true"#)
      #expect(answer.status == 200, "the same again confirms it: \(answer)")
    }
  }

  @Test func `no secret and no token is logged, and what happened is`() async throws {
    try await withAPI(["--log-level", "trace"]) { _, api in
      let secret = "sk_live_51H8xJ"
      _ = try await api.put(secret)
      _ = try await api.put(secret, "other")
      _ = try await api.send(.PUT, "/v1/keys/\(secret)", #"{"account":"acme"}"#)
      _ = try await api.send(.POST, "/v1/accounts/\(secret)/revoke")
      _ = try await api.send(.GET, "/v1/\(secret)?key=\(secret)")
      _ = try await api.send(.POST, "/v1/keys", "{\"\(secret)\": \"\(secret)\"}")
      _ = try await api.send(.POST, "/v1/keys", secret)
      _ = try await api.send(.GET, "/v1/keys/\(id(secret))", token: secret + "-as-a-token")
      try await api.process.waitForLine(containing: "status=401")
      let line = try await api.process.waitForLine(containing: "status=200")
      for part in ["method=POST", "route=/v1/keys", "token=line 2", "key_id=\(id(secret))", "peer=127.0.0.1", "ms="] {
        #expect(line.contains(part), "\(line)")
      }
      #expect(api.process.standardError.lines.contains { $0.contains("status=409") && $0.contains("other_account") })
      api.process.terminate()
      #expect(try await api.process.waitForExit() == .exited(0), "\(api.process.outputs)")
      try await api.process.waitForOutputs()
      for hidden in [secret, PublishingAPI.token] { #expect(!api.process.outputs.contains(hidden)) }
    }
  }

  @Test func `with TLS a client trusts the certificate, and it is replaced`() async throws {
    let deployment = try await Deployment()
    let authority = try await CertificateAuthority()
    let place = authority.place
    try authority.install(try await authority.issue("first"), in: place)
    let api = try await PublishingAPI(
      at: deployment, ["--tls-certificate", place.certificate, "--tls-key", place.key])
    func put(_ secret: String) async throws -> String {
      let curl = try await ServiceProcess.start(
        "/usr/bin/curl",
        [
          "-sS", "--max-time", "10", "--cacert", authority.own.certificate, "-H",
          "Authorization: Bearer \(PublishingAPI.token)", "--json", #"{"key":"\#(secret)","account":"acme"}"#,
          "\(api.url)/v1/keys",
        ])
      #expect(try await curl.waitForExit() == .exited(0), "\(curl.outputs)")
      try await curl.waitForOutputs()
      return curl.standardOutput.text
    }
    #expect(try await put("sk_1").contains("\"version\":1"))
    try authority.install(try await authority.issue("second"), in: place)
    try await api.process.waitForLine(containing: "the files have changed")
    #expect(try await put("sk_2").contains("\"version\":2"))
  }

  @Test func `what can't work ends at once with a sentence`() async throws {
    let deployment = try await Deployment()
    let folder = deployment.folder
    try Data("short\n".utf8).write(to: folder.url("short"))
    for (arguments, text) in [
      (["--tokens", folder.path("nothing")], "No such file"), (["--tokens", folder.path("short")], "line 1"),
      (["--tokens", folder.path("short"), "--tls-key", "x"], "expected both"), ([], "--tokens is missing"),
    ] {
      let run = try await deployment.run(
        "key-publisher", ["serve", "--listen", "127.0.0.1:0"] + arguments, expecting: nil)
      #expect(run.status != .exited(0) && run.standardError.text.contains(text), "\(run.outputs)")
    }
    let taken = try await PublishingAPI(at: deployment)
    try Data("\(PublishingAPI.token)\n".utf8).write(to: folder.url("tokens"))
    let run = try await deployment.run(
      "key-publisher",
      ["serve", "--listen", taken.url.replacing("http://", with: ""), "--tokens", folder.path("tokens")],
      expecting: nil)
    #expect(run.status == .exited(1) && run.standardError.text.contains("another process has port"), "\(run.outputs)")
  }

  /// Compares the API with the command line, which starts a process for each key.
  @Test func `32 at once wait for a few round trips, not for 32 processes`() async throws {
    try await withAPI { deployment, api in
      try await deployment.publish(keys: 1_000)
      func measure(_ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void) async throws -> [Duration] {
        let times = try await withThrowingTaskGroup(of: Duration.self, returning: [Duration].self) { group in
          var times: [Duration] = []
          for number in 0..<count {
            if number >= 32, let time = try await group.next() { times.append(time) }
            group.addTask {
              let began = ContinuousClock.now
              try await body(number)
              return ContinuousClock.now - began
            }
          }
          for try await time in group { times.append(time) }
          return times
        }
        return times.sorted()
      }
      let verbs = try await measure(96) { number in
        try await deployment.run("key-publisher", ["put", "--key", "verb_\(number)", "--account", "acme"])
      }
      // The client's connections are opened before the measurement, as in an application that has been running.
      _ = try await measure(64) { number in _ = try await api.put("warm_\(number)") }
      let served = try await measure(3_200) { number in
        let answer = try await api.put("served_\(number)")
        guard answer.status == 200 else { throw NeverHappened(description: "\(answer)") }
      }
      func shown(_ times: [Duration]) -> String {
        func milliseconds(_ share: Double) -> String {
          String(format: "%.1f", times[Int(Double(times.count - 1) * share)] / .milliseconds(1))
        }
        return "median \(milliseconds(0.5)) ms, p99 \(milliseconds(0.99)) ms"
      }
      print("32 puts at once: key-publisher put \(shown(verbs)); key-publisher serve \(shown(served))")
      #expect(served[served.count * 99 / 100] < verbs[verbs.count / 2])
      let run = try await deployment.run("key-publisher", ["verify"])
      #expect(run.standardOutput.text.contains("all buckets match"))
    }
  }
}
