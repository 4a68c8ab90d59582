// The reasons why a header is refused. There are many, because the person who reads one of them in a log is setting up
// a proxy and can't see the header's bytes.

extension ProxyHeader {
  /// Why the beginning of a connection was refused.
  public enum Refusal: String, Sendable, Hashable, CaseIterable {
    case missingHeader = "missing_header"

    // Version 1.
    case unknownProtocol = "unknown_protocol"
    case emptyField = "empty_field"
    case missingField = "missing_field"
    case extraField = "extra_field"
    case invalidSourceAddress = "invalid_source_address"
    case invalidDestinationAddress = "invalid_destination_address"
    case invalidSourcePort = "invalid_source_port"
    case invalidDestinationPort = "invalid_destination_port"
    case bareLineFeed = "bare_line_feed"
    case bareCarriageReturn = "bare_carriage_return"
    case lineTooLong = "line_too_long"

    // Version 2.
    case unsupportedVersion = "unsupported_version"
    case unknownCommand = "unknown_command"
    case unknownFamily = "unknown_family"
    case unknownTransport = "unknown_transport"
    case unfitTransport = "unfit_transport"
    case headerTooLong = "header_too_long"
    case missingAddresses = "missing_addresses"
    case malformedExtension = "malformed_extension"
    case malformedChecksum = "malformed_checksum"
    case severalChecksums = "several_checksums"
    case wrongChecksum = "wrong_checksum"

    /// The reason as one line of text for people.
    public var reason: String {
      switch self {
      case .missingHeader: "the connection doesn't begin with a header of the PROXY protocol"
      case .unknownProtocol: "PROXY must be followed by one space and TCP4, TCP6 or UNKNOWN"
      case .emptyField: "expected exactly one space between the fields of the PROXY line"
      case .missingField: "the PROXY line is too short: expected two addresses and two ports"
      case .extraField: "the PROXY line is too long: expected its end after two addresses and two ports"
      case .invalidSourceAddress: "the source isn't an address of the family that the PROXY line names"
      case .invalidDestinationAddress: "the destination isn't an address of the family that the PROXY line names"
      case .invalidSourcePort: "the source port isn't a decimal number from 0 to 65535 without leading zeros"
      case .invalidDestinationPort: "the destination port isn't a decimal number from 0 to 65535 without leading zeros"
      case .bareLineFeed: "a PROXY line has an LF without a CR before it"
      case .bareCarriageReturn: "a PROXY line has a CR that no LF follows"
      case .lineTooLong: "a PROXY line doesn't end within \(ProxyHeader.maximumLineLength) bytes"
      case .unsupportedVersion: "expected version 2 of the binary PROXY header, got another"
      case .unknownCommand: "the command of a PROXY header is neither LOCAL nor PROXY"
      case .unknownFamily: "the address family of a PROXY header is none of UNSPEC, INET, INET6 and UNIX"
      case .unknownTransport: "the transport protocol of a PROXY header is none of UNSPEC, STREAM and DGRAM"
      case .unfitTransport: "only one of the address family and the transport of a PROXY header is UNSPEC"
      case .headerTooLong: "a PROXY header announces more than \(ProxyHeader.maximumLength) bytes in all"
      case .missingAddresses: "a PROXY header announces fewer bytes than the addresses of its family have"
      case .malformedExtension: "an extension (TLV) of a PROXY header reaches beyond the header's end"
      case .malformedChecksum: "the checksum of a PROXY header doesn't have 4 bytes"
      case .severalChecksums: "a PROXY header has more than one checksum"
      case .wrongChecksum: "the checksum of a PROXY header doesn't match its bytes"
      }
    }
  }
}
