// A reservation that can be in an array.

import ClientAddress

@testable import IngestNode

final class Reservation {
  private var bytes: ReservedBytes

  init(_ budget: ByteBudget, network: IPAddress? = nil, account: String? = nil) {
    bytes = ReservedBytes(of: budget, network: network, account: account)
  }

  var count: Int { bytes.count }
  var account: String? { bytes.account }

  func take(_ count: Int, isBrief: Bool = false) throws(ByteBudget.Shortage) {
    try bytes.take(count, isBrief: isBrief)
  }

  func assign(to account: String) throws(ByteBudget.Shortage) { try bytes.assign(to: account) }

  func shortage(of count: Int) -> ByteBudget.Shortage? { bytes.shortage(of: count) }

  func release() { bytes.release() }
}
