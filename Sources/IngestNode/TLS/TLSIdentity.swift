// Who the push listener is, from one reload to the next. Connections take the context that is current when they begin, and keep
// it: a reload never breaks one. A context per connection through NIOSSL's own override callback was rejected, since swapping
// one reference does the same with nothing in between.

import Foundation
import NIOSSL
import Synchronization

/// The current certificate of the push listener.
final class TLSIdentity: Sendable {
  private struct State {
    var certificate: ServerCertificate
    /// Which files there were when they were last read, usable or not. Noted before reading, so that what changes meanwhile is
    /// seen as a change.
    var read: [FileFingerprint]
  }

  let files: TLSFiles
  private let state: Mutex<State>

  /// Reads the files, which blocks.
  init(_ files: TLSFiles) throws(UnusableTLSFile) {
    self.files = files
    let read = files.fingerprints
    state = Mutex(State(certificate: try ServerCertificate(files), read: read))
  }

  /// What a new connection is to be served with.
  var context: NIOSSLContext { certificate.context }

  var certificate: ServerCertificate { state.withLock { $0.certificate } }

  /// Whether other files are there than were last read. Blocks, and is cheap.
  var filesHaveChanged: Bool { files.fingerprints != state.withLock { $0.read } }

  /// Reads the files again, which blocks. New connections get what is in them.
  /// - Throws: Where they can't be used; the certificate stays the one that it was.
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
