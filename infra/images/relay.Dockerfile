# The relay of a cluster. How it is built: README.md beside this file.
ARG NODE=docker.io/library/node:24.21.0-trixie-slim
ARG BASE=gcr.io/distroless/cc-debian13:nonroot

FROM ${NODE} AS node

FROM ${BASE}
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY LICENSE infra/images/isthmus.cjs /opt/isthmus/
COPY dist/package.json dist/launch.js dist/relay.js dist/relay-program.js /opt/isthmus/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/node", "/opt/isthmus/isthmus.cjs"]
CMD ["--help"]
