import Foundation
import RedisFixture

/// A plain TCP connection, for what no HTTP client would send.
enum RawConnection {
  /// Sends the bytes at once, and reads this number of responses with bodies of a Content-Length.
  static func statuses(ofRequests requests: String, count: Int, at address: String) async throws -> [Int] {
    let parts = address.split(separator: ":")
    let process = try await ServiceProcess.start(
      "/usr/bin/env",
      [
        "python3", "-c",
        """
        import socket, sys
        host, port, count, data = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode('latin-1')
        s = socket.create_connection((host, port), timeout=10)
        s.sendall(data)
        f = s.makefile('rb')
        for _ in range(count):
            line = f.readline()
            status, length = int(line.split()[1]), 0
            while True:
                header = f.readline().strip().lower()
                if not header: break
                if header.startswith(b'content-length:'): length = int(header.split(b':')[1])
            f.read(length)
            print(status)
        s.settimeout(0.05)
        try: print('extra' if s.recv(1) else 'closed')
        except TimeoutError: print('silent')
        """, String(parts[0]), String(parts[1]), "\(count)", requests,
      ])
    guard try await process.waitForExit(within: .seconds(20)) == .exited(0) else {
      throw NeverHappened(description: "the connection broke\n\(process.outputs)")
    }
    try await process.waitForOutputs()
    let lines = process.standardOutput.lines
    guard lines.last == "silent" else { throw NeverHappened(description: "after the last answer: \(lines.last ?? "")") }
    return lines.dropLast().compactMap { Int($0) }
  }
}
