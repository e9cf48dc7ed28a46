import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRegistry, fromJson } from '@bufbuild/protobuf'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BootstrapSchema } from '#gen/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { UpstreamTlsContextSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js'
import { HttpProtocolOptionsSchema } from '#gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js'
import { type BootstrapFacts, buildBootstrap, nodeIdOf } from '#mesh/translate/bootstrap.ts'
import { envoyPath } from '#tests/support/parts.ts'

const dir = mkdtempSync(join(tmpdir(), 'bootstrap-'))
afterAll(() => rmSync(dir, { recursive: true }))
let facts: BootstrapFacts
beforeAll(() => {
  facts = {
    type: 'sidecar',
    pod: 'reviews-v1-x',
    namespace: 'bookinfo',
    serviceAccount: 'reviews',
    instanceIps: ['127.21.5.1'],
    cluster: 'alpha',
    network: 'net-1',
    mesh: 'mesh1',
    region: 'eu-central-1',
    zone: 'eu-central-1a',
    labels: { app: 'reviews', version: 'v1' },
    interception: 'NONE',
    plain: {
      application: '127.21.5.2',
      outbound: '127.21.5.3',
      tcp: { 'db.bookinfo.svc.cluster.local:5432': '127.21.5.10' },
    },
    relay: {
      host: '127.21.0.1',
      port: 15012,
      uri: 'spiffe://alpha.mesh1/ns/isthmus-system/sa/relay',
    },
    secretsSocket: join(dir, 'sds.sock'),
    admin: { socket: join(dir, 'admin.sock') },
    connectionsMax: 1_000,
    concurrency: 1,
  }
})

const variants: Readonly<Record<string, () => BootstrapFacts>> = {
  'a sidecar without interception': () => facts,
  'a router with redirection': () => ({ ...without(facts), type: 'router', interception: 'REDIRECT' }),
  'a relay by name': () => ({ ...facts, relay: { ...facts.relay, host: 'relay.isthmus-system.svc' } }),
  'a relay on IPv6': () => ({ ...facts, relay: { ...facts.relay, host: '::1' } }),
  'admin on a port': () => ({ ...facts, admin: { host: '127.0.0.1', port: 15000 } }),
}

function without({ zone: _z, region: _r, plain: _p, ...rest }: BootstrapFacts): BootstrapFacts {
  return rest
}

describe.each(Object.entries(variants))('%s', (_name, make) => {
  test('the real Envoy accepts it', async () => {
    const file = join(dir, `${Math.random().toString(36).slice(2)}.json`)
    writeFileSync(file, JSON.stringify(buildBootstrap(make())))
    const out = execFileSync(await envoyPath(), ['--mode', 'validate', '-c', file], { stdio: 'pipe' })
    expect(String(out)).toContain('OK')
  })

  test('every field is one that Envoy’s types know', () => {
    // The connection limit is an extension whose proto is not generated; the real Envoy checks it above.
    const { overload_manager: _overload, ...rest } = buildBootstrap(make())
    const registry = createRegistry(UpstreamTlsContextSchema, HttpProtocolOptionsSchema)
    const bootstrap = fromJson(BootstrapSchema, JSON.parse(JSON.stringify(rest)), { registry })
    expect(bootstrap.node?.id).toBe(nodeIdOf(make()))
    expect(bootstrap.staticResources?.clusters.map((one) => one.name)).toEqual(['xds-grpc', 'sds-grpc'])
    expect(bootstrap.staticResources?.listeners).toEqual([])
  })
})

test('the node says what a relay must know', () => {
  expect(buildBootstrap(facts)['node']).toMatchObject({
    id: 'sidecar~127.21.5.1~reviews-v1-x.bookinfo~bookinfo.svc.cluster.local',
    cluster: 'reviews.bookinfo',
    locality: { region: 'eu-central-1', zone: 'eu-central-1a' },
    metadata: {
      CLUSTER_ID: 'alpha',
      INSTANCE_IPS: '127.21.5.1',
      INTERCEPTION_MODE: 'NONE',
      SERVICE_ACCOUNT: 'reviews',
      METADATA_DISCOVERY: 'false',
      LABELS: { app: 'reviews', version: 'v1' },
      ISTHMUS: facts.plain,
    },
  })
})

test('a router asks for the endpoints of its own network, a sidecar for all', () => {
  const router = JSON.stringify(buildBootstrap({ ...facts, type: 'router' })['node'])
  expect(router).toContain('"REQUESTED_NETWORK_VIEW":"net-1"')
  expect(JSON.stringify(buildBootstrap(facts)['node'])).not.toContain('REQUESTED_NETWORK_VIEW')
})

test('a gateway says where it listens', () => {
  const { plain: _plain, ...rest } = facts
  const node = buildBootstrap({ ...rest, type: 'router', gateway: { host: '127.21.0.2', port: 15443 } })['node']
  expect(node).toMatchObject({ metadata: { ISTHMUS: { gateway: { address: '127.21.0.2', port: 15443 } } } })
})

test('no private key and no session ticket key is in it', () => {
  expect(JSON.stringify(buildBootstrap(facts))).not.toMatch(/PRIVATE KEY|session_ticket_keys/)
})

test('whom Envoy believes as its relay comes as a secret and is never inline, on TLS 1.3 only', () => {
  const text = JSON.stringify(buildBootstrap(facts))
  expect(text).toContain('"validation_context_sds_secret_config":{"name":"CONTROLPLANE"')
  expect(text).not.toMatch(/trusted_ca|"validation_context"/)
  expect(text).toContain('"tls_minimum_protocol_version":"TLSv1_3"')
})
