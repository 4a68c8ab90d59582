// Answers requests: finds the route of the path, checks the token, reads the body up to its limit, and sends the change
// to the store. The client is answered when the store has confirmed the change.

internal import Hummingbird
internal import HummingbirdCore
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import Logging
internal import NIOCore
internal import Synchronization

final class APIResponder: Sendable {
  /// Maximum bytes of a body. A batch of 256 changes with the longest keys and accounts has half of them.
  static let bodyLimit = 1 << 20

  /// Maximum time for a turn, and then for reading the whole store and changing an account's keys. After it the request
  /// is answered 503. With the confirmation by replicas that is before the listener's deadline, which would only close
  /// the connection.
  static let accountLimit = TimeAmount.seconds(15)

  private static let insistence = KeyObjection.Insistence(
    reactivatingPut: "a put with \"reactivate\": true", reactivate: "\"reactivate\": true",
    changeAccount: "\"change_account\": true")

  private let store: RedisChangeStore
  private let changes: GroupCommit
  private let accounts = AccountTurns()
  private let tokens: BearerTokens
  private let limit: Int
  private let inProgress = Atomic<Int>(0)
  private let strangers = LineLimiter()
  private let logger: Logger

  /// - Parameter limit: Maximum requests in progress, of all connections.
  init(store: RedisChangeStore, tokens: BearerTokens, limit: Int, logger: Logger) {
    self.store = store
    self.tokens = tokens
    self.limit = limit
    self.logger = logger
    changes = GroupCommit(store)
  }

  /// The request's part of its line in the access log. Neither the path nor the body is logged: both may contain a
  /// secret.
  private struct Facts {
    var route = "none"
    /// The token's line in the file of tokens.
    var token: Int?
    var key: KeyID?
    var account: String?
  }

  /// - Parameter peer: The client's address, if it is known.
  /// - Throws: If the connection has ended.
  func respond(to request: Request, from peer: String?) async throws -> Response {
    let start = ContinuousClock.now
    var facts = Facts()
    var answer: APIAnswer
    do {
      answer = try await self.answer(request, &facts)
    } catch let problem as APIProblem {
      answer = APIAnswer(problem)
    }
    var metadata: Logger.Metadata = [
      "method": "\(Self.shown(request.method))", "route": "\(facts.route)", "status": "\(answer.status.code)",
      "ms": "\((ContinuousClock.now - start) / .milliseconds(1))", "peer": "\(peer ?? "unknown")",
    ]
    if let code = answer.code { metadata["code"] = "\(code.rawValue)" }
    if let token = facts.token { metadata["token"] = "line \(token)" }
    if let key = facts.key { metadata["key_id"] = "\(key.hex)" }
    if let account = facts.account { metadata["account"] = "\(account)" }
    if facts.token == nil {
      // Lines about clients without a token are limited, so that they can't fill the disk.
      strangers.write(.info, "request", metadata, to: logger)
    } else {
      logger.info("request", metadata: metadata)
    }
    return answer.response(isHead: request.method == .head)
  }

  private static func shown(_ method: HTTPRequest.Method) -> String {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].first { $0 == method.rawValue } ?? "another"
  }

  /// - Throws: ``APIProblem``, or the error that ended the connection.
  private func answer(_ request: Request, _ facts: inout Facts) async throws -> APIAnswer {
    let target = (request.head.path ?? "/").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let path = target.first, let route = APIRoute(path: path) else {
      throw APIProblem(
        code: .notFound, message: "there is nothing at this path", remedy: "see /v1/openapi.json for the paths")
    }
    facts.route = route.template
    guard route.methods.contains(request.method.rawValue) else {
      throw APIProblem(
        code: .methodNotAllowed,
        message: "\(route.template): expected \(route.methods.joined(separator: " or ")), got another method",
        allowed: route.methods)
    }
    if !route.isOpen { facts.token = try authorize(request) }
    // A query would otherwise be ignored, and it may be meant as a condition of the change.
    guard target.count == 1 else { throw APIProblem.invalid("the path", expected: "no query", found: "one") }
    if route == .openAPI { return APIAnswer(document: Documents.openAPI) }
    let number = inProgress.add(1, ordering: .relaxed).newValue
    defer { inProgress.subtract(1, ordering: .relaxed) }
    guard number <= limit else { throw APIProblem.tooBusy }
    if case .key(let text) = route { facts.key = try RequestedChange.keyID(text) }
    switch (route, request.method) {
    case (.health, _):
      return try await health()
    case (.keys, _):
      return try await one(RequestedChange.put(try await json(request)), &facts)
    case (.batch, _):
      return try await batch(RequestedChange.batch(try await json(request)))
    case (.key, .put):
      guard let key = facts.key else { break }
      return try await one(RequestedChange.put(key, try await json(request)), &facts)
    case (.key, .patch):
      guard let key = facts.key else { break }
      return try await one(RequestedChange.state(key, try await json(request)), &facts)
    case (.key, _):
      guard let key = facts.key else { break }
      return try await get(key)
    case (.account(let account, let state), _):
      return try await set(state, of: account, request, &facts)
    default: break
    }
    throw APIProblem(code: .notFound, message: "\(route.template): no handler for this method")
  }

  /// - Returns: The token's line in the file of tokens.
  private func authorize(_ request: Request) throws(APIProblem) -> Int {
    let values = request.headers[values: .authorization]
    let parts = values.first?.split(separator: " ", maxSplits: 1) ?? []
    if values.count == 1, parts.count == 2, parts[0].lowercased() == "bearer", let line = tokens.line(of: parts[1]) {
      return line
    }
    throw APIProblem(
      code: .unauthorized,
      message: values.isEmpty ? "no bearer token" : "invalid bearer token",
      remedy: "send the header Authorization: Bearer TOKEN")
  }

  private func bytes(of request: Request) async throws -> [UInt8] {
    let tooLarge = APIProblem(
      code: .bodyTooLarge, message: "expected a body of at most \(Self.bodyLimit) bytes, got more",
      remedy: "send fewer changes in a batch")
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.bodyLimit { throw tooLarge }
    var bytes: [UInt8] = []
    for try await part in request.body {
      guard bytes.count + part.readableBytes <= Self.bodyLimit else { throw tooLarge }
      bytes += part.readableBytesView
    }
    return bytes
  }

  private func json(_ request: Request) async throws -> JSONValue {
    try Self.requireJSON(request)
    return try RequestedChange.json(try await bytes(of: request))
  }

  private static func requireJSON(_ request: Request) throws(APIProblem) {
    let type = request.headers[.contentType] ?? "none"
    let name = type.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }
    guard name.lowercased() == "application/json" else {
      throw APIProblem(
        code: .unsupportedMediaType,
        message: "expected the header Content-Type: application/json, got \(type == "none" ? "none" : "another")",
        remedy: "send the body as JSON, with that header")
    }
  }

  private func health() async throws -> APIAnswer {
    do {
      if case .incompatible(let why) = try await store.position() {
        throw APIProblem(code: .notNow, message: why)
      }
      return APIAnswer(HealthAnswer())
    } catch {
      throw APIProblem(of: error)
    }
  }

  private func get(_ key: KeyID) async throws -> APIAnswer {
    let record: KeyRecord?
    do {
      switch try await store.record(of: key) {
      case .found(let found): record = found
      case .noStore:
        throw APIProblem(
          code: .noStore, message: "there is no key store in this Redis yet", remedy: "put a key, or import a list")
      case .incompatible(let why): throw APIProblem(code: .notNow, message: why)
      }
    } catch {
      throw APIProblem(of: error)
    }
    guard let record else { throw APIProblem(code: .unknownKey, message: "the store doesn't know key \(key)") }
    return APIAnswer(
      KeyAnswer(
        keyId: key.hex, account: record.account, state: record.state.word, since: record.since,
        expiresAt: record.expiresAt, revision: record.revision, version: record.version))
  }

  private func commit(_ request: ChangeRequest) async throws(APIProblem) -> CommittedChanges {
    do { return try await changes.apply(request) } catch { throw APIProblem(of: error) }
  }

  private func one(_ request: ChangeRequest, _ facts: inout Facts) async throws -> APIAnswer {
    let edit = request.edits[0]
    facts.key = edit.key
    let committed = try await commit(request)
    let result = committed.results[0]
    if let objection = KeyObjection(result, to: edit, basedOn: request.basis, insistence: Self.insistence) {
      throw APIProblem.objection(objection)
    }
    if let why = committed.unconfirmed { throw APIProblem.unconfirmed(why) }
    var account: String?
    if case .put(let owner, _) = edit.kind { account = owner }
    return APIAnswer(
      KeyAnswer(
        keyId: edit.key.hex, account: account, state: result.state?.word,
        expiresAt: edit.expiry.applied(to: nil), revision: edit.revision, changed: result.kind == .changed,
        version: committed.version))
  }

  private func batch(_ request: ChangeRequest) async throws -> APIAnswer {
    let committed = try await commit(request)
    if let why = committed.unconfirmed { throw APIProblem.unconfirmed(why) }
    var answer = BatchAnswer(version: committed.version, changed: 0, unchanged: 0, left: 0, results: [])
    for (edit, result) in zip(request.edits, committed.results) {
      var item = BatchItem(keyId: edit.key.hex, result: "", state: result.state?.word)
      if let objection = KeyObjection(result, to: edit, basedOn: request.basis, insistence: Self.insistence) {
        let problem = APIProblem.objection(objection)
        item.result = "left"
        (item.code, item.message, item.remedy) = (problem.code.rawValue, problem.message, problem.remedy)
        answer.left += 1
      } else if result.kind == .changed {
        item.result = "changed"
        answer.changed += 1
      } else {
        item.result = "unchanged"
        answer.unchanged += 1
      }
      answer.results.append(item)
    }
    return APIAnswer(answer)
  }

  private func set(
    _ state: KeyState, of account: String, _ request: Request, _ facts: inout Facts
  ) async throws -> APIAnswer {
    if let objection = KeyRecord.objection(toAccount: account) {
      throw APIProblem.invalid(
        "account", expected: "1 to 255 bytes without control characters", found: objection)
    }
    let bytes = try await bytes(of: request)
    var isTrial = false
    // The only member of a body is dry_run, so the body may be missing.
    if !bytes.isEmpty {
      try Self.requireJSON(request)
      isTrial = try Members(try RequestedChange.json(bytes), names: ["dry_run"]).flag("dry_run")
    }
    let (outcome, unconfirmed): (AccountKeys.Outcome, String?)
    do {
      let deadline = NIODeadline.now() + Self.accountLimit
      try await accounts.take(within: Duration(Self.accountLimit))
      do {
        (outcome, unconfirmed) = try await store.set(state, ofAccount: account, isTrial: isTrial, until: deadline)
        await accounts.giveBack()
      } catch {
        await accounts.giveBack()
        throw error
      }
    } catch {
      throw APIProblem(of: error)
    }
    guard outcome.unreadable == 0 else {
      throw APIProblem(
        code: .storeFailed,
        message: "\(outcome.unreadable) records can't be read and may be of this account; "
          + "\(outcome.changed) keys were changed",
        remedy: "run key-publisher verify")
    }
    guard outcome.keys > 0 else {
      throw APIProblem(
        code: .unknownAccount, message: "the store has no key of this account; nothing was changed")
    }
    facts.account = account
    if let unconfirmed { throw APIProblem.unconfirmed(unconfirmed) }
    return APIAnswer(
      AccountAnswer(
        account: account, state: state.word, dryRun: isTrial, keys: outcome.keys, changed: outcome.changed,
        stayRevoked: outcome.staysRevoked, version: outcome.version))
  }
}
