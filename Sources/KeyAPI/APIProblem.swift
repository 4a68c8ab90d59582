// All errors of the API: one table of codes, each with its HTTP status. The status shows a client whether to send the
// request again (503) or not. The code shows why the request failed.

internal import Hummingbird
internal import KeyStore

/// The code of an error. The OpenAPI document lists all codes.
enum APICode: String, CaseIterable, Sendable {
  case invalidRequest = "invalid_request"
  case unauthorized
  case notFound = "not_found"
  case unknownKey = "unknown_key"
  case unknownAccount = "unknown_account"
  case noStore = "no_store"
  case methodNotAllowed = "method_not_allowed"
  case revoked
  case suspended
  case otherAccount = "other_account"
  case newerVersion = "newer_version"
  case olderRevision = "older_revision"
  case notReached = "not_reached"
  case damagedRecord = "damaged_record"
  case bodyTooLarge = "body_too_large"
  case unsupportedMediaType = "unsupported_media_type"
  case redisDenies = "redis_denies"
  case storeFailed = "store_failed"
  case unreachable = "redis_unreachable"
  case notNow = "redis_not_ready"
  case outcomeUnknown = "outcome_unknown"
  case notConfirmed = "not_confirmed"
  case tooBusy = "too_busy"

  var status: HTTPResponse.Status {
    switch self {
    // The same request would fail again.
    case .invalidRequest: .badRequest
    case .unauthorized: .unauthorized
    case .notFound, .unknownKey, .unknownAccount: .notFound
    case .methodNotAllowed: .methodNotAllowed
    // The change conflicts with the store's content. The key was left unchanged.
    case .revoked, .suspended, .otherAccount, .newerVersion, .olderRevision, .notReached, .noStore: .conflict
    case .bodyTooLarge: .contentTooLarge
    case .unsupportedMediaType: .unsupportedMediaType
    // An operator has to repair the store or the rights in Redis.
    case .redisDenies, .storeFailed, .damagedRecord: .internalServerError
    // The client should send the request again. A second execution is harmless.
    case .unreachable, .notNow, .outcomeUnknown, .notConfirmed, .tooBusy: .serviceUnavailable
    }
  }

  init(_ reason: KeyObjection.Reason) {
    self =
      switch reason {
      case .unknownKey: .unknownKey
      case .revoked: .revoked
      case .suspended: .suspended
      case .otherAccount: .otherAccount
      case .newerVersion: .newerVersion
      case .olderRevision: .olderRevision
      case .notReached: .notReached
      case .damagedRecord: .damagedRecord
      }
  }
}

/// An error of the API: what happened, and what to do.
struct APIProblem: Error, Sendable, Equatable {
  var code: APICode
  var message: String
  var remedy: String?
  /// The methods of the path, if the request has another method.
  var allowed: [String] = []

  static func invalid(_ place: String, expected: String, found: String) -> APIProblem {
    APIProblem(code: .invalidRequest, message: "\(place): expected \(expected), got \(found)")
  }

  static func objection(_ objection: KeyObjection) -> APIProblem {
    APIProblem(
      code: APICode(objection.reason),
      message: "\(objection.fact). \(objection.extent)", remedy: objection.remedy)
  }

  static func unconfirmed(_ why: String) -> APIProblem {
    APIProblem(
      code: .notConfirmed,
      message: "the change is in the primary, but isn't confirmed: \(why). A failover could lose it",
      remedy: "send the same request again to have it confirmed")
  }

  static let tooBusy = APIProblem(
    code: .tooBusy, message: "too many requests are waiting for the store; nothing was changed",
    remedy: "send the same request again")

  /// Converts a failure of the store.
  init(of error: any Error) {
    switch error {
    case let problem as APIProblem:
      self = problem
    case is TooBusy:
      self = .tooBusy
    case let damaged as DamagedRecord:
      self.init(code: .damagedRecord, message: damaged.fact, remedy: DamagedRecord.remedy)
    default:
      let again = "send the same request again; doing it twice is harmless"
      switch StoreFailure(of: error) {
      case .unreachable:
        self.init(code: .unreachable, message: "\(error). Nothing was changed", remedy: again)
      case .outcomeUnknown:
        self.init(
          code: .outcomeUnknown, message: "\(error). The change may have been made or not", remedy: again)
      case .notNow:
        self.init(code: .notNow, message: "\(error). Nothing was changed", remedy: again)
      case .notPermitted:
        self.init(
          code: .redisDenies, message: "\(error)",
          remedy: "give key-publisher's Redis user the rights in Deploy/redis/users.acl of Sluice's repository")
      case .failed:
        self.init(code: .storeFailed, message: "\(error)", remedy: "run key-publisher verify")
      }
    }
  }

  init(code: APICode, message: String, remedy: String? = nil, allowed: [String] = []) {
    self.code = code
    self.message = message
    self.remedy = remedy
    self.allowed = allowed
  }
}
