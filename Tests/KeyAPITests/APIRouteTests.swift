import KeyReplica
import Testing

@testable import KeyAPI

@Suite struct APIRouteTests {
  @Test(arguments: [
    ("/v1/health", APIRoute.health), ("/v1/openapi.json", .openAPI), ("/v1/keys", .keys), ("/v1/keys:batch", .batch),
    ("/v1/keys%3Abatch", .batch), ("/v1/keys/00ff", .key("00ff")),
    ("/v1/accounts/acme/suspend", .account("acme", .suspended)),
    ("/v1/accounts/a%2Fb%20c/revoke", .account("a/b c", .revoked)),
    ("/v1/accounts/%C3%A9/activate", .account("é", .active)),
  ])
  func `a path leads to one thing`(path: String, route: APIRoute) {
    #expect(APIRoute(path: path) == route)
  }

  @Test(arguments: [
    "", "/", "/v1", "/v1/", "/v2/health", "/v1/keys/", "/v1/keys/a/b", "/v1/accounts/acme", "/v1/accounts//revoke",
    "/v1/accounts/acme/delete", "/v1//keys", "/v1/health/", "/v1/keys/%zz", "/v1/keys/%ff", "v1/health",
  ])
  func `all other paths lead to nothing`(path: String) {
    #expect(APIRoute(path: path) == nil)
  }
}
