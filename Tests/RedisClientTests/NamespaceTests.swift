import RedisClient
import Testing

@Suite struct NamespaceTests {
  @Test func `a key has the namespace, the hash tag and the rest`() {
    #expect(Namespace.standard.key("keys", "meta") == "sluice:{keys}:meta")
    #expect(Namespace("eu-1_a.b")?.key("q", "x") == "eu-1_a.b:{q}:x")
  }

  @Test(arguments: ["", "a:b", "a{b", "a}b", "a b", "ä", "a*", "a\n", String(repeating: "a", count: 65)])
  func `a name that would move keys elsewhere is none`(name: String) {
    #expect(Namespace(name) == nil)
  }

  @Test func `a name may have 64 characters`() {
    #expect(Namespace(String(repeating: "a", count: 64)) != nil)
  }
}
