// All bounds of the push listener, with what they are by default and why.

internal import HTTPFraming
internal import NIOCore

/// What the push listener takes, and for how long.
public struct ListenerLimits: Sendable {
  /// Bytes of a body, as it comes.
  public var bodyBytes = 16 << 20
  /// Bytes of all header lines of a request together.
  public var headerBytes = 16 << 10
  /// Bytes of bodies that the node holds at once, from their first byte to their answer. What is beyond is answered 503. No event loop's share
  /// of it is smaller than two bodies.
  public var bytesInHand = 256 << 20
  /// Fewer where the limit on descriptors leaves no room for so many.
  public var connections = 10_000
  /// Connections of one client: an IPv4 address, or an IPv6 /64. nil for a quarter of all, so that one client can't have all of them. It doesn't
  /// hold for trusted proxies, behind which there are many.
  public var connectionsPerAddress: Int?
  /// After so many requests a connection ends, and the client's next one may lead to another node.
  public var requestsPerConnection = 1_000_000
  /// How long a connection may be without a request. Longer than balancers leave theirs idle (60 s in nginx): who reuses a connection
  /// while it is being closed has its request lost.
  public var idle = Duration.seconds(75)
  /// How long a request's head may take to come, and a key that is in its body.
  public var headDeadline = Duration.seconds(10)
  /// How long a request's body may take to come.
  public var bodyDeadline = Duration.seconds(60)
  /// Pushes of one account that are taken each second; nil for no bound.
  public var accountRate: Int?
  /// What an account hears beyond that; nil for what its dialect's clients bear.
  public var tooFastStatus: TooFastStatus?
  /// How long the node goes on taking connections after it was told to end, each answer being the last on its connection, while it says that
  /// it isn't ready. Longer than a balancer that looks each second takes to notice; what a balancer sends to a node that is gone, or on an idle
  /// connection that is just being closed, it has to send again, and not every balancer may. 0 where there is none.
  public var grace = Duration.seconds(5)
  /// How long requests and connections may take to end after that.
  public var stopDeadline = Duration.seconds(10)

  public init() {}

  var requestLimits: RequestLimits {
    RequestLimits(headerBytes: headerBytes, bodyBytes: bodyBytes, requests: requestsPerConnection)
  }

  var deadlines: PhaseDeadlines {
    PhaseDeadlines(idle: TimeAmount(idle), head: TimeAmount(headDeadline), body: TimeAmount(bodyDeadline))
  }
}
