import { describe, expect, test } from 'vitest'
import { parseFlags, settingsOfEnvironment } from '#gateway/proxy/setting-rows.ts'
import { parseSettings } from '#gateway/proxy/settings.ts'
import { Problem } from '#mesh/model/problem.ts'

const good = {
  relay: '127.21.0.1:15012',
  relayUri: 'spiffe://alpha.mesh1/ns/isthmus-system/sa/relay',
  caFile: '/etc/ca.pem',
  tokenFile: '/etc/token',
  pod: 'reviews-v1-x',
  namespace: 'bookinfo',
  serviceAccount: 'reviews',
  instanceIps: ['127.21.5.1'],
  cluster: 'alpha',
  network: 'net-1',
  mesh: 'mesh1',
}

test('what need not be said is sane: redirection, admin on a socket, status on loopback', () => {
  expect(parseSettings('sidecar', good)).toMatchObject({
    type: 'sidecar',
    trustDomain: 'alpha.mesh1',
    interception: 'REDIRECT',
    relay: { host: '127.21.0.1', port: 15012 },
    admin: { socket: '/var/run/isthmus/proxy/admin.sock' },
    status: { host: '127.0.0.1', port: 15020 },
    labels: {},
  })
})

test('tables and lists may be written as text or as JSON', () => {
  const none = { ...good, interception: 'NONE', application: '127.21.5.2', outbound: '127.21.5.3' }
  const text = {
    ...none,
    instanceIps: '127.21.5.1, ::1',
    labels: 'app=reviews,version=v1',
    tcp: 'db.shop:5432=127.21.5.10',
  }
  const json = {
    ...none,
    instanceIps: ['127.21.5.1', '::1'],
    labels: { app: 'reviews', version: 'v1' },
    tcp: { 'db.shop:5432': '127.21.5.10' },
  }
  expect(parseSettings('sidecar', text)).toEqual(parseSettings('sidecar', json))
  expect(parseSettings('sidecar', json).plain?.tcp).toEqual({ 'db.shop:5432': '127.21.5.10' })
})

test('the addresses of a pod without redirection are a sidecar’s alone', () => {
  expect(parseSettings('router', { ...good, interception: 'NONE' }).plain).toBeUndefined()
})

test('a router may say where it listens', () => {
  expect(parseSettings('router', { ...good, gateway: '127.21.0.2:15443' }).gateway).toEqual({
    host: '127.21.0.2',
    port: 15443,
  })
  expect(problemOf(() => parseSettings('router', { ...good, gateway: 'gw.example:15443' })).violations).toMatchObject([
    { path: 'gateway', reason: expect.stringContaining('is not an IP address') },
  ])
})

const wrong: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ['relay', { relay: 'relay' }, 'is not host:port'],
  ['relay', { relay: 'a b:1' }, 'is not host:port'],
  ['relay', { relay: 'relay:70000' }, 'is not host:port'],
  ['relay', { relay: '' }, 'is missing'],
  ['relayUri', { relayUri: 'spiffe://alpha.mesh1/ns/other/sa/relay' }, 'is not the URI of a relay'],
  ['relayUri', { relayUri: 'spiffe://ALPHA/ns/isthmus-system/sa/relay' }, 'is not the URI of a relay'],
  ['pod', { pod: 'a/b' }, 'is not a Kubernetes name'],
  ['namespace', { namespace: 'a.b' }, 'is not one DNS label'],
  ['serviceAccount', { serviceAccount: 'x~y' }, 'is not a Kubernetes name'],
  ['instanceIps', { instanceIps: [] }, 'is missing'],
  ['instanceIps', { instanceIps: 'somewhere' }, 'is not an IP address'],
  ['labels', { labels: 'app' }, 'is not a table'],
  ['labels', { labels: { app: 1 } }, 'is not a table'],
  ['interception', { interception: 'TPROXY' }, 'is not one of REDIRECT, NONE'],
  ['application', { interception: 'NONE', outbound: '127.0.0.3' }, 'is missing, and interception is NONE'],
  ['tcp', { interception: 'NONE', application: '::1', outbound: '::1', tcp: 'db=1.1.1.1' }, 'is not host:port'],
  ['admin', { admin: '0.0.0.0:15000' }, 'loopback'],
  ['admin', { admin: 'localhost:15000' }, 'loopback'],
  ['dir', { dir: `/${'d'.repeat(100)}` }, '107 bytes'],
  ['concurrency', { concurrency: '0' }, 'from 1 to 256'],
  ['concurrency', { concurrency: '1.5' }, 'from 1 to 256'],
  ['drainSecondsMin', { drainSecondsMin: 30 }, 'more than drainSecondsMax'],
  ['relai', { relai: 'x' }, 'is no setting'],
]

describe('what is wrong is named, with the flag and the variable', () => {
  test.each(wrong)('%s %j', (name, change, reason) => {
    const found = problemOf(() => parseSettings('sidecar', { ...good, ...change }))
    expect(found.kind).toBe('invalid')
    expect(found.violations.map((v) => v.path)).toEqual([name])
    expect(found.violations[0]?.reason).toContain(reason)
    if (name !== 'relai') expect(found.violations[0]?.reason).toMatch(/--[a-z-]+, [A-Z_]+, or "/)
  })

  test('everything at once', () => {
    const found = problemOf(() => parseSettings('gateway', { concurrency: 'x' }))
    expect(found.violations.length).toBeGreaterThan(10)
    expect(found.message).toContain('relayUri')
  })
})

test('flags: both forms, an unknown one and a missing value are named', () => {
  expect(parseFlags(['sidecar', '--relay-uri=x', '--pod', 'p'])).toEqual({
    positional: ['sidecar'],
    flags: { relayUri: 'x', pod: 'p' },
  })
  expect(problemOf(() => parseFlags(['--relai', 'x'])).message).toContain('--relai')
  expect(problemOf(() => parseFlags(['--relay'])).message).toContain('--relay needs a value')
})

test('the environment: the downward API’s usual names and our own; empty is absent', () => {
  expect(settingsOfEnvironment({ POD_NAME: 'p', ISTHMUS_RELAY_URI: 'u', ISTHMUS_ZONE: '', HOME: '/' })).toEqual({
    pod: 'p',
    relayUri: 'u',
  })
})

function problemOf(run: () => unknown): Problem {
  try {
    run()
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
  throw new Error('nothing was refused')
}
