// swift-tools-version: 6.3

import PackageDescription

/// The rules that every target of ours is compiled under.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .treatAllWarnings(as: .error),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let coreMetrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioExtras = Target.Dependency.product(name: "NIOExtras", package: "swift-nio-extras")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
  name: "sluice",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "ingest-node", targets: ["ingest-node"]),
    .executable(name: "ingest-worker", targets: ["ingest-worker"]),
    .executable(name: "sync-status", targets: ["sync-status"]),
    .executable(name: "key-publisher", targets: ["key-publisher"]),
    .library(name: "IngestClient", targets: ["IngestClient"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.3.1"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.3.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", "3.12.0"..<"5.0.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.9.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.30.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.10.0"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0"),
  ],
  targets: [
    // Outside things, each behind a module map.
    .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CBrotli", providers: [.apt(["libbrotli-dev"])]),
    .systemLibrary(name: "CPostgres", providers: [.apt(["libpq-dev"])]),

    // Classes of bytes, digits, writing into memory: for everything that reads or writes bytes itself.
    .target(name: "Bytes", swiftSettings: strict),

    // Redis: bytes ↔ replies, then one conversation.
    .target(name: "Hiredis", dependencies: ["CHiredis"], swiftSettings: strict),
    .target(
      name: "RedisClient",
      dependencies: ["Bytes", "Hiredis", crypto, deque, logging, nioCore, nioPosix, nioSSL, nioTLS],
      swiftSettings: strict),

    // Each Lua script in a file of its own, in a folder `Scripts` of the target that runs it.
    .plugin(name: "EmbedScripts", capability: .buildTool(), exclude: ["embed.awk"]),

    // PostgreSQL: one connection with deadlines, through libpq.
    .target(name: "PostgresClient", dependencies: ["CPostgres"], swiftSettings: strict),

    // The data's way, in its order.
    .target(name: "CSHA"),
    .target(name: "KeyReplica", dependencies: ["Bytes", "CSHA", crypto], swiftSettings: strict),
    // All files and folders that the executables make.
    .target(name: "PrivateFiles", swiftSettings: strict),
    .systemLibrary(name: "CMalloc"),
    .target(name: "FreedMemory", dependencies: ["CMalloc", logging, serviceLifecycle], swiftSettings: strict),
    .target(
      name: "KeyStore",
      dependencies: ["Bytes", "PrivateFiles", "RedisClient", "KeyReplica", crypto, logging, nioCore],
      swiftSettings: strict, plugins: ["EmbedScripts"]),
    // From the customers' database into the key store.
    .target(
      name: "SourceFollower",
      dependencies: ["Bytes", "Hiredis", "KeyReplica", "KeyStore", "PostgresClient", "RedisClient", logging, nioCore],
      swiftSettings: strict),
    .target(
      name: "IngestQueue", dependencies: ["Bytes", "Hiredis", "RedisClient", crypto, deque, logging, nioCore],
      swiftSettings: strict, plugins: ["EmbedScripts"]),
    // Apart from the queue, so that workers don't link a database for it.
    .target(
      name: "IngestSpool",
      dependencies: [
        "Hiredis", "IngestQueue", "PrivateFiles", deque, logging, nioCore, nioPosix,
        .product(name: "GRDB", package: "GRDB.swift"),
      ], swiftSettings: strict),
    .target(
      name: "Fleet",
      dependencies: [
        "Bytes", "Hiredis", "RedisClient", "KeyReplica", "KeyStore", "IngestQueue", logging, nioCore, serviceLifecycle,
      ],
      swiftSettings: strict, plugins: ["EmbedScripts"]),
    .target(
      name: "PrometheusText", dependencies: [coreMetrics], swiftSettings: strict),
    .target(name: "HTTPFraming", dependencies: ["Bytes"], swiftSettings: strict),
    .target(name: "InputBuffer", dependencies: [nioCore], swiftSettings: strict),
    .target(name: "ClientAddress", dependencies: ["Bytes"], swiftSettings: strict),
    .target(name: "BodyCoding", dependencies: ["Bytes", "CZlib", "CZstd", "CBrotli"], swiftSettings: strict),
    // Listening sockets with limits and deadlines, certificates, and the HTTP listener for operators and applications.
    .target(
      name: "Listening",
      dependencies: [
        "Bytes", "ClientAddress", "KeyReplica", "KeyStore",
        coreMetrics, deque, heap, logging, metrics, nioCore, nioPosix, nioExtras, nioSSL, serviceLifecycle, unixSignals,
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
        .product(name: "X509", package: "swift-certificates"),
      ],
      swiftSettings: strict),
    .target(
      name: "IngestNode",
      dependencies: [
        "BodyCoding", "Bytes", "ClientAddress", "HTTPFraming", "InputBuffer", "RedisClient", "KeyReplica", "KeyStore",
        "IngestQueue", "IngestSpool", "Fleet", "FreedMemory", "Hiredis", "Listening", "PrometheusText",
        deque, logging, metrics, nioCore, nioPosix, nioExtras, nioSSL, nioTLS, serviceLifecycle,
        unixSignals,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
      ],
      swiftSettings: strict),
    // The HTTP API of `key-publisher serve`.
    .target(
      name: "KeyAPI",
      dependencies: [
        "Hiredis", "KeyReplica", "KeyStore", "Listening", "RedisClient", crypto, deque, logging, nioCore, nioPosix,
        serviceLifecycle, unixSignals,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
      ],
      swiftSettings: strict, plugins: ["EmbedDocuments"]),
    // Embeds the API's OpenAPI document, which is part of the documentation, in KeyAPI.
    .plugin(name: "EmbedDocuments", capability: .buildTool()),
    .target(
      name: "IngestWorker",
      dependencies: [
        "BodyCoding", "Bytes", "CZstd", "Hiredis", "PostgresClient", "RedisClient", "KeyReplica", "KeyStore",
        "IngestQueue", "Fleet", "PrivateFiles", logging, nioCore, nioHTTP1, nioPosix, serviceLifecycle,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "GRDBSQLite", package: "GRDB.swift"),
      ],
      swiftSettings: strict),

    // What services push with. It knows HTTP and nothing of Redis.
    .target(
      name: "IngestClient",
      dependencies: [
        "Bytes", coreMetrics, deque, heap, logging, nioCore, nioHTTP1, serviceLifecycle,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ],
      swiftSettings: strict),

    // What the four commands share, and the documentation catalogue.
    .target(
      name: "CommandSupport",
      dependencies: [
        "IngestQueue", "RedisClient", argumentParser, logging,
        .product(name: "Configuration", package: "swift-configuration"),
      ],
      swiftSettings: strict, plugins: ["DescribeBuild"]),
    .plugin(name: "DescribeBuild", capability: .buildTool()),
    .executableTarget(
      name: "ingest-node",
      dependencies: [
        "ClientAddress", "CommandSupport", "IngestNode", "IngestQueue", "IngestSpool", "KeyReplica", "Listening",
        "PrometheusText", "RedisClient", argumentParser, logging, metrics,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "ingest-worker",
      dependencies: [
        "CommandSupport", "Fleet", "FreedMemory", "IngestQueue", "IngestWorker", "KeyReplica", "KeyStore",
        "RedisClient",
        argumentParser, logging, nioPosix,
        serviceLifecycle, .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ], swiftSettings: strict),
    .executableTarget(
      name: "sync-status",
      dependencies: [
        "CommandSupport", "Fleet", "IngestQueue", "IngestSpool", "KeyStore", "RedisClient", argumentParser, logging,
        nioCore,
        nioPosix,
      ], swiftSettings: strict),
    .executableTarget(
      name: "key-publisher",
      dependencies: [
        "CommandSupport", "Hiredis", "KeyAPI", "KeyReplica", "KeyStore", "Listening", "RedisClient", "SourceFollower",
        argumentParser, logging, nioCore, nioPosix, unixSignals,
      ],
      swiftSettings: strict),

    // Tests. The fixture starts real servers; it is no product, so it lives with the tests.
    .target(
      name: "RedisFixture", dependencies: ["Hiredis", "RedisClient", logging, nioCore, nioPosix],
      path: "Tests/RedisFixture", swiftSettings: strict),
    // What tests of the queue and of its workers have in common.
    .target(
      name: "QueueFixture", dependencies: ["IngestQueue", logging], path: "Tests/QueueFixture", swiftSettings: strict),
    // Bodies compressed by each format's own library. Brotli's encoder is linked with tests only.
    .target(
      name: "CompressionFixture", dependencies: ["CZlib", "CZstd", "CBrotli"],
      path: "Tests/CompressionFixture", swiftSettings: strict),
    // A validator for the JSON Schemas in the documentation catalogue.
    .target(name: "SchemaFixture", path: "Tests/SchemaFixture", swiftSettings: strict),
    .testTarget(name: "BytesTests", dependencies: ["Bytes"], swiftSettings: strict),
    .testTarget(name: "HiredisTests", dependencies: ["Hiredis", "RedisFixture"], swiftSettings: strict),
    .testTarget(
      name: "RedisClientTests",
      dependencies: ["Hiredis", "RedisClient", "RedisFixture", logging, nioCore, nioPosix],
      swiftSettings: strict),
    // Many replicas against one store in virtual time, under faults drawn from a seed: `Scripts/simulate`.
    .target(
      name: "SimulatedStore", dependencies: ["KeyReplica"],
      path: "Tests/Simulator/SimulatedStore", swiftSettings: strict),
    .target(
      name: "Simulation", dependencies: ["KeyReplica", "SimulatedStore", heap],
      path: "Tests/Simulator/Simulation", swiftSettings: strict),
    .executableTarget(
      name: "simulator", dependencies: ["KeyReplica", "Simulation"],
      path: "Tests/Simulator/Command", swiftSettings: strict),
    // Real processes under faults drawn from a seed, and a ledger held against the sink: `Scripts/chaos`.
    .executableTarget(
      name: "chaos",
      dependencies: [
        "CompressionFixture", "Hiredis", "RedisClient", "RedisFixture", argumentParser, crypto, deque, nioCore,
        nioHTTP1,
        nioPosix, .product(name: "GRDB", package: "GRDB.swift"),
      ],
      path: "Tests/Chaos", exclude: ["Mutants"], swiftSettings: strict),
    .testTarget(
      name: "KeyReplicaTests", dependencies: ["KeyReplica", "SimulatedStore", "Simulation", crypto],
      swiftSettings: strict),
    .testTarget(
      name: "KeyStoreTests",
      dependencies: [
        "Hiredis", "RedisClient", "KeyReplica", "KeyStore", "RedisFixture", "SimulatedStore", "key-publisher", crypto,
        logging, nioCore, nioPosix,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "KeyAPITests",
      dependencies: ["Hiredis", "KeyAPI", "KeyReplica", "KeyStore", "RedisClient", "RedisFixture", logging],
      swiftSettings: strict),
    .testTarget(
      name: "SourceFollowerTests",
      dependencies: [
        "Hiredis", "KeyReplica", "KeyStore", "PostgresClient", "RedisClient", "RedisFixture", "SourceFollower",
        "key-publisher", nioCore, nioPosix,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "IngestQueueTests",
      dependencies: [
        "Hiredis", "RedisClient", "IngestQueue", "QueueFixture", "RedisFixture", logging, nioCore, nioPosix,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "PrivateFilesTests",
      dependencies: [
        "IngestQueue", "IngestSpool", "IngestWorker", "KeyReplica", "KeyStore", "PrivateFiles", "QueueFixture",
        "RedisFixture", logging,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "IngestSpoolTests",
      dependencies: [
        "Hiredis", "IngestQueue", "IngestSpool", "RedisClient", "RedisFixture", logging, nioCore, nioPosix,
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "FleetTests",
      dependencies: [
        "Fleet", "Hiredis", "IngestQueue", "KeyReplica", "KeyStore", "RedisClient", "RedisFixture", "SchemaFixture",
        "sync-status", logging, nioCore, nioPosix, serviceLifecycle,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "PrometheusTextTests", dependencies: ["PrometheusText", coreMetrics],
      swiftSettings: strict),
    // What requests are checked with by the unit tests, by libFuzzer (`Scripts/fuzz request`) and by the benchmark.
    .target(
      name: "FramingOracle", dependencies: ["HTTPFraming", "InputBuffer", nioCore, nioEmbedded, nioHTTP1],
      path: "Tests/FramingOracle", swiftSettings: strict),
    .executableTarget(
      name: "framing-benchmark", dependencies: ["HTTPFraming", nioCore, nioEmbedded, nioHTTP1],
      path: "Tests/FramingBenchmark", swiftSettings: strict),
    .testTarget(name: "FreedMemoryTests", dependencies: ["FreedMemory", logging], swiftSettings: strict),
    .testTarget(name: "InputBufferTests", dependencies: ["InputBuffer", nioCore], swiftSettings: strict),
    .testTarget(
      name: "HTTPFramingTests", dependencies: ["HTTPFraming", "FramingOracle", "RedisFixture"],
      exclude: ["read_corpus.py", "read_responses.py"], swiftSettings: strict),
    .testTarget(name: "ClientAddressTests", dependencies: ["ClientAddress", "RedisFixture"], swiftSettings: strict),
    .testTarget(
      name: "BodyCodingTests",
      dependencies: ["BodyCoding", "CZlib", "CZstd", "CBrotli", "CompressionFixture", "RedisFixture"],
      swiftSettings: strict),
    .testTarget(
      name: "CommandSupportTests",
      dependencies: ["CommandSupport", "IngestQueue", "RedisClient", "RedisFixture", argumentParser, logging],
      swiftSettings: strict),
    .testTarget(
      name: "IngestNodeTests",
      dependencies: [
        "BodyCoding", "ClientAddress", "CompressionFixture", "Fleet", "FramingOracle", "HTTPFraming", "IngestNode",
        "IngestQueue", "KeyReplica", "Listening", "PrometheusText", "RedisFixture",
        logging,
        nioCore, nioEmbedded, nioPosix, nioSSL, nioTLS, serviceLifecycle,
      ],
      exclude: ["read_answers.py"], swiftSettings: strict),
    .testTarget(
      name: "IngestWorkerTests",
      dependencies: [
        "BodyCoding", "CompressionFixture", "Fleet", "Hiredis", "RedisClient", "KeyReplica", "KeyStore", "IngestQueue",
        "IngestWorker", "ingest-worker", "PostgresClient", "QueueFixture", "RedisFixture",
        logging, nioCore, nioHTTP1, nioPosix, serviceLifecycle,
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "IngestClientTests",
      dependencies: [
        "IngestClient", "PrometheusText", "RedisFixture", coreMetrics, logging, nioCore, nioHTTP1, nioPosix, nioSSL,
        serviceLifecycle,
        unixSignals,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "SystemTests",
      dependencies: [
        "Fleet", "IngestClient", "IngestQueue", "RedisFixture", "Hiredis", "KeyReplica", "KeyStore", "RedisClient",
        "SchemaFixture", "ingest-node",
        "ingest-worker",
        "sync-status",
        "key-publisher", crypto, logging, nioCore, nioHTTP1, nioPosix, nioSSL,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: strict),
  ]
)

// Not compiled by normal builds: Scripts/bench asks for it. In this package, so that what was compiled for the executables is used again.
if Context.environment["SLUICE_BENCHMARKS"] != nil {
  package.targets += [
    .executableTarget(
      name: "bench",
      dependencies: [
        "CMalloc", "HTTPFraming", "Hiredis", "IngestQueue", "KeyReplica", "KeyStore", "PostgresClient", "RedisClient",
        "RedisFixture", "SimulatedStore", argumentParser, logging, nioCore, nioPosix,
      ],
      path: "Benchmarks/Command", swiftSettings: strict)
  ]
}
