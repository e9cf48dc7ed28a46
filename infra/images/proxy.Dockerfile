# Envoy with the program beside it, and what redirects a pod's connections to it. How it is built: README.md beside this file.
ARG NODE=docker.io/library/node:24.21.0-trixie-slim
ARG ENVOY=docker.io/envoyproxy/envoy:distroless-v1.40.0
ARG BASE=gcr.io/distroless/cc-debian13:nonroot

FROM ${NODE} AS node

FROM ${ENVOY} AS envoy

# Of the distribution's iptables no more than what restores rules, with the libraries and extensions that it loads.
FROM ${NODE} AS iptables
RUN apt-get update \
  && apt-get install --yes --no-install-recommends iptables \
  && mkdir -p /out/usr/sbin \
  && cp /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /out/usr/sbin/ \
  && for name in iptables ip6tables; do \
       ln -s xtables-nft-multi "/out/usr/sbin/$name-restore"; \
       ln -s xtables-legacy-multi "/out/usr/sbin/$name-legacy-restore"; \
     done \
  && ldd /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi \
       | sed -n 's#.*=> \(/usr\)\{0,1\}\(/lib/[^ ]*/lib\(xtables\|nftnl\|mnl\|ip4tc\|ip6tc\)\.[^ ]*\).*#/usr\2#p' \
       | sort -u | xargs cp --parents --dereference --target-directory=/out \
  && cp --archive --parents /usr/lib/*-linux-gnu/xtables /out

FROM ${BASE}
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
COPY --from=iptables /out/ /
COPY LICENSE infra/images/isthmus.cjs /opt/isthmus/
COPY dist/package.json dist/launch.js /opt/isthmus/
COPY dist/proxy.js dist/proxy-program.js dist/redirect.js dist/redirect-program.js /opt/isthmus/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/node", "/opt/isthmus/isthmus.cjs"]
CMD ["--help"]
