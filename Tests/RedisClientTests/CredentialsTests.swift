// Passwords and certificates in files, which are read at each connection.

import Foundation
import Hiredis
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

@Suite struct CredentialsTests {
  private func ping(_ endpoint: RedisEndpoint) async throws {
    let connection = try await RedisConnection.connected(to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG"))
  }

  @Test func `a password that is changed in its file needs no restart`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "first" }) { server in
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let file = folder.path("password")
      func write(_ text: String) throws { try text.write(toFile: file, atomically: true, encoding: .utf8) }
      var endpoint = server.endpoint
      endpoint.password = nil
      endpoint.credentialsFile = file
      try write("first\n")
      try await ping(endpoint)
      try await server.run("ACL", "SETUSER", "node", "on", ">second", "~*", "+@all")
      try write("node\r\nsecond\r\n")
      try await ping(endpoint)
      let connection = try await RedisConnection.connected(
        to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
      #expect(try await connection.execute(RedisCommand("ACL", "WHOAMI")).string() == "node")
      connection.close()
      for (text, why) in [
        ("", "none"), ("a\nb\nc\n", "3 lines"), ("node\n\n", "an empty password"), ("node\nhunter2\n", "WRONGPASS"),
      ] {
        try write(text)
        let error = await #expect(throws: RedisError.self) { try await ping(endpoint) }
        #expect(
          error.map { "\($0)".contains(why) && !"\($0)".contains("hunter2") } == true, "\(String(describing: error))")
      }
      try FileManager.default.removeItem(atPath: file)
      let missing = await #expect(throws: RedisError.self) { try await ping(endpoint) }
      #expect(
        missing.map { "\($0)".hasSuffix("can't read \(file) (credentials=): No such file or directory") } == true,
        "\(String(describing: missing))")
      endpoint.credentialsFile = folder.path
      let isFolder = await #expect(throws: RedisError.self) { try await ping(endpoint) }
      #expect(
        isFolder.map { "\($0)".hasSuffix("can't read \(folder.path) (credentials=): it is a folder") } == true,
        "\(String(describing: isFolder))")
      endpoint.credentialsFile = "/dev/null"
      let device = await #expect(throws: RedisError.self) { try await ping(endpoint) }
      #expect(device.map { "\($0)".hasSuffix("(credentials=): it is no file") } == true)
    }
  }

  @Test func `a server that asks for a certificate is shown one`() async throws {
    let options = RedisServerOptions {
      $0.tls = true
      $0.arguments = ["--tls-auth-clients", "yes"]
    }
    try await withRedis(options) { server in
      var endpoint = server.tlsEndpoint
      await #expect(throws: RedisError.self) { try await ping(endpoint) }
      endpoint.clientCertificate = ClientCertificate(
        chain: server.folder.path("server.crt"), privateKey: server.folder.path("server.key"))
      try await ping(endpoint)
      endpoint.clientCertificate?.chain = "/nowhere.crt"
      let error = await #expect(throws: RedisError.self) { try await ping(endpoint) }
      #expect(error.map { "\($0)".contains("/nowhere.crt") } == true)
    }
  }
}
