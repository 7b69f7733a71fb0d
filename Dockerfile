# The server with both engines. Build: docker build -t flashsale-server .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# librdkafka and SQLite are built from source with what the image has (gcc, make, OpenSSL's headers).
# The caches keep what was built for the next time.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package flashsale-server --features tls \
    && install --strip target/release/flashsale-server /usr/local/bin/

FROM debian:bookworm-slim
# OpenSSL, for Kafka, and the roots that are trusted unless a setting names others.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home flashsale \
    && install --directory --owner flashsale /data
COPY --from=build /usr/local/bin/flashsale-server /usr/local/bin/
USER 10001
# Where the embedded engine keeps its file, if it is used.
WORKDIR /data
# All libraries are there, or this is no image.
RUN flashsale-server --version
ENV HOST=0.0.0.0 PORT=3001 LOG_FORMAT=json
EXPOSE 3001
# A worker answers, too. Asks over HTTP with what the image has.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["flashsale-server"]
CMD ["serve"]
