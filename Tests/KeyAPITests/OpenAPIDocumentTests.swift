// The OpenAPI document agrees with the code: the codes of errors, the paths and the limits are the same.

import Foundation
import KeyReplica
import KeyStore
import Testing

@testable import KeyAPI

@Suite struct OpenAPIDocumentTests {
  private func document() throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(Documents.openAPI.utf8)) as? [String: Any])
  }

  private func schema(_ path: String...) throws -> [String: Any] {
    try path.reduce(try document()) { try #require($0[$1] as? [String: Any], "\($1)") }
  }

  @Test func `it is the file of the documentation`() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let file = root.appending(path: "Sources/CommandSupport/Sluice.docc/Resources/publishing-api.openapi.json")
    #expect(try String(contentsOf: file, encoding: .utf8) == Documents.openAPI + "\n")
  }

  @Test func `it has all codes of errors`() throws {
    let codes = try schema("components", "schemas", "Code")["enum"] as? [String]
    #expect(codes?.sorted() == APICode.allCases.map(\.rawValue).sorted())
  }

  @Test func `each of its paths leads somewhere, by its methods`() throws {
    let paths = try schema("paths")
    #expect(paths.count == 8)
    for (template, operations) in paths {
      let path = template.replacing("{key_id}", with: KeyID(secret: "k".utf8).hex).replacing("{account}", with: "acme")
      let route = try #require(APIRoute(path: path), "\(template)")
      #expect(route.template == template)
      let methods = try #require(operations as? [String: Any]).keys.filter { $0 != "parameters" }.map {
        $0.uppercased()
      }
      #expect(methods.sorted() == route.methods.filter { $0 != "HEAD" }.sorted(), "\(template)")
    }
  }

  @Test func `its limits are the code's`() throws {
    let put = try schema("components", "schemas", "Put", "properties", "revision")
    #expect(put["maximum"] as? Int == Int(KeyRecord.revisionLimit))
    let changes = try schema("components", "schemas", "Batch", "properties", "changes")
    #expect(changes["maxItems"] as? Int == KeyStoreWriter.batchLimit)
    let key = try schema("components", "schemas", "NewKey", "properties", "key")
    #expect(key["maxLength"] as? Int == KeyListParser.secretLimit)
    let expiry = try schema("components", "schemas", "Put", "properties", "expires_at")["anyOf"] as? [[String: Any]]
    #expect(expiry?[1]["maximum"] as? Int == Int(KeyRecord.expiryLimit))
  }
}
