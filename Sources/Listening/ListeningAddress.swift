package import NIOCore

/// A listener's address, as text.
package struct ListeningAddress: CustomStringConvertible {
  package let description: String

  package init(host: String, port: Int) { description = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  package init(_ channel: any Channel) {
    let address = channel.localAddress
    guard let host = address?.ipAddress, let port = address?.port else {
      self.init(description: "an unknown address")
      return
    }
    self.init(host: host, port: port)
  }

  private init(description: String) { self.description = description }
}
