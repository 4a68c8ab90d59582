// HAProxy's configuration as Operations recommends it: what the tests show, they show of this one. Only addresses are filled in.

import Foundation

enum RecommendedHAProxy {
  /// What a health check asks the admin port for.
  enum Check: String, CaseIterable, Sendable {
    /// Whether the process answers; how much of the traffic it is given is the agent's word. The recommended one: when the store is away
    /// from all nodes at once, they stay in the pool and say so themselves.
    case livez
    /// Whether the node is ready. For balancers that have no agent-check; then nothing is left in the pool when the store is away.
    case readyz
  }

  static func configuration(port: Int, nodes: [Node.Addresses], check: Check = .livez) -> String {
    let servers = nodes.enumerated().map { index, node in
      "  server node-\(index + 1) \(node.push) port \(Node.port(node.admin)) agent-port \(Node.port(node.agent))"
    }
    return """
      global
        # A request that is to be sent to another node must fit in here whole. Larger ones aren't sent again.
        tune.bufsize 65536

      defaults
        mode http
        log global
        option httplog
        # Logs requests that were tried again or answered 5xx, and no others.
        option dontlog-normal
        timeout connect 2s
        timeout check 2s
        timeout http-request 30s
        timeout client 75s
        timeout http-keep-alive 75s
        # Longer than a node takes to say that Redis doesn't answer. It says 503 and Retry-After; HAProxy would say 504.
        timeout server 30s

      frontend pushes
        bind 127.0.0.1:\(port)
        # Nodes write it to their log with a refusal, if they are told to believe it: --trust-proxies with HAProxy's address.
        option forwardfor
        # With no node in the pool, what a node would say: come back soon. Nobody is told that a key is bad.
        http-error status 503 content-type application/json string "{\\"error\\":\\"unavailable\\",\\"reason\\":\\"no_node\\"}" hdr Retry-After 5
        default_backend nodes

      backend nodes
        balance roundrobin
        # Connections to nodes are kept and shared, from a client's first request on. A node may be about to close one just then, if it
        # ends without --grace: that is empty-response below.
        http-reuse always
        # What a node couldn't be asked, or couldn't decide or hand over (503), the next one is asked: a node that has just come and isn't in
        # sync yet costs a round trip and no refusal. A 401 or 403 is proven, and final. After empty-response a payload can have been
        # taken twice, as after any repetition; clients that mind send Idempotency-Key.
        retry-on conn-failure empty-response 503
        retries 3
        # Each time to another node.
        option redispatch 1
        # Whether the process lives. Whether it is to be given work is what the agent-check says: 100% when it is in sync, 5% as long as it
        # can only admit, down when it can't, drain while it ends. --grace must be longer than both checks take to notice: 5 s here.
        option httpchk
        http-check send meth GET uri /\(check) ver HTTP/1.1 hdr Host sluice
        http-check expect status 200
        # A weight of 100, so that 5% of it isn't 0.
        default-server weight 100 check inter 1s fall 2 rise 1 agent-check agent-inter 1s
      \(servers.joined(separator: "\n"))
      """
  }
}
