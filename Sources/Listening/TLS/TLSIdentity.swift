// A listener's current certificate. A connection uses the context that is current when it begins, and keeps it: a reload
// never breaks a connection. Rejected: a context per connection through NIOSSL's override callback. Replacing one
// reference has the same effect without a callback.

import Foundation
package import NIOSSL
import Synchronization

/// The current certificate of a listener.
package final class TLSIdentity: Sendable {
  private struct State {
    package var certificate: ServerCertificate
    /// The files' fingerprints at the last reading, whether the files were usable or not. Taken before reading, so that
    /// a change during the reading is noticed.
    var read: [FileFingerprint]
  }

  let files: TLSFiles
  private let state: Mutex<State>

  /// Reads the files, which blocks.
  package init(_ files: TLSFiles) throws(UnusableTLSFile) {
    self.files = files
    let read = files.fingerprints
    state = Mutex(State(certificate: try ServerCertificate(files), read: read))
  }

  /// The context for new connections.
  package var context: NIOSSLContext { certificate.context }

  package var certificate: ServerCertificate { state.withLock { $0.certificate } }

  /// Whether the files differ from the ones that were last read. Blocks, but is cheap.
  var filesHaveChanged: Bool { files.fingerprints != state.withLock { $0.read } }

  /// Reads the files again, which blocks. New connections use the new content.
  /// - Throws: If they can't be used; the old certificate stays in use.
  /// - Returns: The new certificate.
  @discardableResult
  func reload() throws(UnusableTLSFile) -> ServerCertificate {
    let read = files.fingerprints
    state.withLock { $0.read = read }
    let certificate = try ServerCertificate(files)
    state.withLock { $0.certificate = certificate }
    return certificate
  }
}
