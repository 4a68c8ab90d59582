// The dialect of a request, by its method and path.

internal import Bytes
internal import HTTPFraming

/// The routes of some dialects.
struct RouteTable: Sendable {
  enum Destination {
    case route(Dialect, Route.Purpose)
    /// The path exists, but not with this method.
    case otherMethods(Dialect, allow: String)
    case none
  }

  private let routes: [(dialect: Int, route: Route)]
  private let dialects: [Dialect]

  /// - Parameter dialects: If a path matches several, the first one counts.
  init(_ dialects: [Dialect]) {
    self.dialects = dialects
    routes = dialects.enumerated().flatMap { index, dialect in dialect.routes.map { (index, $0) } }
  }

  /// - Parameter bytes: The bytes that the head was read from.
  func destination(of head: borrowing RequestHead, in bytes: RawSpan) -> Destination {
    for (dialect, route) in routes where route.method == head.method && route.path.matches(head.path, in: bytes) {
      return .route(dialects[dialect], route.purpose)
    }
    guard let (other, _) = routes.first(where: { $0.route.path.matches(head.path, in: bytes) }) else { return .none }
    let methods = routes.filter { $0.route.path.matches(head.path, in: bytes) }.map {
      "\($0.route.method)".uppercased()
    }
    return .otherMethods(dialects[other], allow: Set(methods).sorted().joined(separator: ", "))
  }
}
