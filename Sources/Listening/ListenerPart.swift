/// One listener's part of the process's descriptors.
package struct ListenerPart: Equatable, Sendable {
  /// Connections that are served at once.
  package var connections: Int
  /// Connections over the limit that are answered 503. Others over it are closed at once.
  package var courtesies: Int
  /// Connections that are accepted in one turn of the event loop.
  package var batch: Int

  package init(connections: Int, courtesies: Int, batch: Int) {
    self.connections = connections
    self.courtesies = courtesies
    self.batch = batch
  }

  /// Maximum descriptors of the listener. Connections over the limit are open too, until their event loop has closed
  /// them.
  package var descriptors: Int { connections + courtesies + 2 * batch }
}
