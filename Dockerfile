# One image for every role: `docker run bingo --role=api`, `docker run bingo migrate up`, `docker run bingo --help`.
# It needs no writable file system but /data: run it with --read-only.

FROM oven/bun:1.4.5 AS build
WORKDIR /bingo
# Dependencies first: they change seldom, and this layer is then taken from the cache.
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --production
COPY tsconfig.json ./
COPY roles roles
COPY src src
RUN bun run build
# The final stage has no shell to make a folder with.
RUN mkdir /data

# The executable needs glibc and nothing else. There is no shell, no package manager, and the user is 65532.
FROM gcr.io/distroless/base-debian12:nonroot
COPY --from=build /bingo/dist/bingo /bingo
COPY --from=build --chown=65532:65532 /data /data

# A container is reached from outside, and what is published is decided there.
ENV BINGO_HTTP_HOST=0.0.0.0 \
    BINGO_OPS_HOST=0.0.0.0 \
    # One ops port whatever the role: the health check below is a process of its own and does not see the --role of the first.
    # Change it by this variable, not by --ops.port, which the health check would not see either.
    BINGO_OPS_PORT=9464 \
    BINGO_DATABASE_URL=sqlite:/data/bingo.db \
    # Load balancers need a moment to notice that a container is leaving.
    BINGO_SHUTDOWN_DRAIN_MS=5000

USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
# API, bot, ops, gRPC. The admin server listens on loopback, unless BINGO_ADMIN_HOST says otherwise.
EXPOSE 8080 8082 9464 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/bingo", "healthcheck"]
ENTRYPOINT ["/bingo"]
CMD ["--role=all"]
