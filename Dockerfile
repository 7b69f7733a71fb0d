# The server with both engines. Build: docker build -t flashsale .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# librdkafka and SQLite are built from source with what the image has (gcc, make).
RUN cargo build --locked --release --package flashsale-server \
    && strip target/release/flashsale-server

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home flashsale \
    && install -d -o flashsale /data
COPY --from=build /src/target/release/flashsale-server /usr/local/bin/
USER flashsale
# Where the embedded engine keeps its file, if it is used.
WORKDIR /data
ENV HOST=0.0.0.0 PORT=3001 LOG_FORMAT=json
EXPOSE 3001
# Asks over HTTP with what the image has.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${PORT} && printf 'GET /health HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["flashsale-server"]
CMD ["serve"]
