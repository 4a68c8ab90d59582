// The files of a listener's certificate, and whether they have changed since they were read. Files are compared
// by the file system's metadata and not by their content: a private key should be in memory only while it is being
// loaded. Links are followed, so a change of the folder that Kubernetes's `..data` points to is noticed. Rejected:
// watching by inotify. A watch on a path doesn't follow such a change, and reports nothing on network file systems. A
// check every few seconds costs nothing.

package import Foundation

/// The files of a listener's TLS. All are PEM.
public struct TLSFiles: Sendable, Hashable {
  /// The server's own certificate first, then each authority that signed the one before it; the root may be omitted.
  public var certificateChain: String
  /// The private key of the first certificate, not encrypted.
  public var privateKey: String
  /// The authorities of client certificates. If set, a client must present a certificate that one of them has signed.
  /// nil if clients need none.
  public var clientAuthorities: String?

  public init(certificateChain: String, privateKey: String, clientAuthorities: String? = nil) {
    self.certificateChain = certificateChain
    self.privateKey = privateKey
    self.clientAuthorities = clientAuthorities
  }

  /// The fingerprints of the files, in order.
  var fingerprints: [FileFingerprint] {
    ([certificateChain, privateKey] + (clientAuthorities.map { [$0] } ?? [])).map { FileFingerprint(of: $0) }
  }
}

/// The metadata that identify a file and one state of it.
package enum FileFingerprint: Hashable, Sendable {
  /// Permissions and owner are included, so that a file that couldn't be read is tried again after they change.
  case file(device: Int, inode: Int, size: Int, modified: Date, permissions: Int, owner: Int)
  case absent(reason: String)

  /// - Parameter path: Links in it are followed.
  package init(of path: String) {
    guard let resolved = realpath(path, nil) else {
      self = .absent(reason: String(cString: strerror(errno)))
      return
    }
    defer { free(resolved) }
    do {
      let attributes = try FileManager.default.attributesOfItem(atPath: String(cString: resolved))
      func number(_ key: FileAttributeKey) -> Int { (attributes[key] as? NSNumber)?.intValue ?? 0 }
      self = .file(
        device: number(.systemNumber), inode: number(.systemFileNumber), size: number(.size),
        modified: attributes[.modificationDate] as? Date ?? .distantPast, permissions: number(.posixPermissions),
        owner: number(.ownerAccountID))
    } catch {
      self = .absent(reason: "\(error)")
    }
  }
}
