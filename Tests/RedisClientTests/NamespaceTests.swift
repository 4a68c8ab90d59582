import Testing

@testable import RedisClient

@Suite struct NamespaceTests {
  @Test func `a key has the namespace, the hash tag and the rest`() {
    #expect(Namespace.standard.key("keys", "meta") == "sluice:{keys}:meta")
    #expect(Namespace("eu-1_a.b")?.key("q", "x") == "eu-1_a.b:{q}:x")
  }

  @Test func `in braces the namespace is the hash tag of all keys`() {
    #expect(Namespace("{eu}")?.key("q", "x") == "{eu}:q:x")
    #expect(ClusterSlot(of: "{eu}:q:x") == ClusterSlot(of: "{eu}:keys:meta"))
  }

  @Test(arguments: [
    "", "{}", "{a", "a}", "{a}b", "{{a}}", "{a:b}", "a:b", "a{b", "a}b", "a b", "ä", "a*", "a\n",
    String(repeating: "a", count: 65),
  ])
  func `a name that would move keys elsewhere is none`(name: String) {
    #expect(Namespace(name) == nil)
  }

  @Test func `a name may have 64 characters`() {
    #expect(Namespace(String(repeating: "a", count: 64)) != nil)
  }
}
