// Where the push listener's certificate comes from, and whether the files there are still the ones that were read. Files are told
// apart by what the file system says and not by their content: a private key should be in memory only while it is being loaded.
// Links are followed, so it is noticed that Kubernetes points `..data` at another folder. Watching by inotify was rejected: a watch on a
// path doesn't follow such a swap, says nothing on network file systems, and a look every few seconds costs nothing.

import Foundation

/// The files that the push listener's TLS is made of. All are PEM.
public struct TLSFiles: Sendable, Hashable {
  /// The server's own certificate first, then each authority that signed the one before it; the root may be left out.
  public var certificateChain: String
  /// The private key of the first certificate, not encrypted.
  public var privateKey: String
  /// The authorities of client certificates. With them a client must present a certificate that one of them vouches for; nil
  /// asks clients for none.
  public var clientAuthorities: String?

  public init(certificateChain: String, privateKey: String, clientAuthorities: String? = nil) {
    self.certificateChain = certificateChain
    self.privateKey = privateKey
    self.clientAuthorities = clientAuthorities
  }

  /// Which files there are now, each in its turn.
  var fingerprints: [FileFingerprint] {
    ([certificateChain, privateKey] + (clientAuthorities.map { [$0] } ?? [])).map { FileFingerprint(of: $0) }
  }
}

/// What tells one file, and one state of it, from another.
enum FileFingerprint: Hashable, Sendable {
  /// Permissions and owner are part of it, so that a file is tried again that couldn't be read before.
  case file(device: Int, inode: Int, size: Int, modified: Date, permissions: Int, owner: Int)
  case absent(reason: String)

  /// - Parameter path: Links in it are followed.
  init(of path: String) {
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
