# All four commands in one slim image; which one runs is the compose file's choice.
FROM docker.io/library/swift:6.3-bookworm AS build
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends libhiredis-dev libsqlite3-dev \
      zlib1g-dev libzstd-dev libbrotli-dev libpq-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
COPY Plugins Plugins
COPY Sources Sources
COPY Tests Tests
# There is no repository in the image, so whoever builds it says what it is: --build-arg SLUICE_BUILD=$(git describe --always)
ARG SLUICE_BUILD=unknown
RUN mkdir /out \
 && for product in ingest-node ingest-worker sync-status key-publisher; do \
      SLUICE_BUILD=$SLUICE_BUILD swift build -c release --static-swift-stdlib --product $product || exit 1; \
      cp ".build/release/$product" /out/; \
    done \
 && strip --strip-debug /out/*

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends ca-certificates libhiredis0.14 libsqlite3-0 \
      zlib1g libzstd1 libbrotli1 libpq5 tzdata \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/sluice sluice
COPY --from=build /out/ /usr/local/bin/
USER sluice
WORKDIR /var/lib/sluice
