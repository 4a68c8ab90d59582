// All limits of the push listener, with their defaults and the reasons for them.

internal import HTTPFraming
internal import NIOCore

/// The limits of the push listener in size, number and time.
public struct ListenerLimits: Sendable {
  /// Maximum bytes of a body, before decompression.
  public var bodyBytes = 16 << 20
  /// Bytes of all header lines of a request together.
  public var headerBytes = 16 << 10
  /// Maximum request-body bytes buffered by this node, from their first byte to their answer. Beyond it requests are
  /// answered 503. An event loop's share is at least two bodies.
  public var bytesInHand = 256 << 20
  /// Maximum connections. Lower if the descriptor limit is too low for this number.
  public var connections = 10_000
  /// Maximum connections of one client: an IPv4 address, or an IPv6 /64. nil for a quarter of all, so that one client
  /// can't have all of them. It doesn't apply to trusted proxies, which are used by many clients.
  public var connectionsPerAddress: Int?
  /// After this number of requests a connection closes, and the client's next one may lead to another node.
  public var requestsPerConnection = 1_000_000
  /// Maximum time of a connection without a request. Longer than load balancers keep idle connections (60 s in nginx):
  /// a request on a connection that is just being closed is lost.
  public var idle = Duration.seconds(75)
  /// Timeout for receiving a request's head, or a key in its body.
  public var headDeadline = Duration.seconds(10)
  /// Timeout for receiving a request's body.
  public var bodyDeadline = Duration.seconds(60)
  /// Maximum accepted pushes of one account per second; nil for no limit.
  public var accountRate: Int?
  /// The status for pushes beyond that rate; nil for the dialect's own.
  public var tooFastStatus: TooFastStatus?
  /// Time after the signal in which the node still accepts connections and reports that it isn't ready. Each answer is
  /// the last on its connection. Must be longer than a load balancer with one check per second needs to notice. If a
  /// load balancer sends a request to a node that is gone, or on an idle connection that is just being closed, it must
  /// repeat the request, and not every load balancer may. 0 without a load balancer.
  public var grace = Duration.seconds(5)
  /// Maximum time after that for requests and connections to end.
  public var stopDeadline = Duration.seconds(10)

  public init() {}

  var requestLimits: RequestLimits {
    RequestLimits(headerBytes: headerBytes, bodyBytes: bodyBytes, requests: requestsPerConnection)
  }

  var deadlines: PhaseDeadlines {
    PhaseDeadlines(idle: TimeAmount(idle), head: TimeAmount(headDeadline), body: TimeAmount(bodyDeadline))
  }
}
