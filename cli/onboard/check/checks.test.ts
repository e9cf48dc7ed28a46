import { describe, expect, test } from 'vitest'
import { exitCodeOf, type Finding, findingsOf } from '#cli/onboard/check/check.ts'
import { checks } from '#cli/onboard/check/checks.ts'
import type { CheckFacts, ExportFact, InstalledFact, MemberFact, NodeFact } from '#cli/onboard/check/facts.ts'

const now = Date.parse('2026-03-01T12:00:00Z')
const node = (name: string, more: Partial<NodeFact> = {}): NodeFact => ({
  ...{ name, ready: true, region: 'eu-west-1', zone: 'eu-west-1a', architecture: 'amd64' },
  ...{ podCidrs: ['10.11.0.0/24'], addresses: ['172.16.0.4'] },
  ...more,
})
const rollout = { ready: 2, wanted: 2, isDone: true }
const installed: InstalledFact = {
  ...{ cluster: 'paris', network: 'vpc-1', relay: rollout, gateway: rollout, missingRules: { value: [] } },
  ...{ hasJoinToken: { value: false }, addresses: ['203.0.113.9'], relayPods: ['relay-1', 'relay-2'] },
  ...{ lease: { value: { holder: 'relay-1', renewedAt: now - 2000 } }, relayIp: '10.96.0.53' },
}
const paris: MemberFact = {
  ...{ name: 'paris', state: 'joined', network: 'vpc-1', relayVersion: '0.1.0', lastSeenAt: now - 5000 },
  conditions: [{ type: 'Heard', status: 'True', message: 'its relay reports' }],
}
const reviews: ExportFact = {
  ...{ service: 'bookinfo/reviews', exists: true, ready: 3, unmeshed: [], permissive: false, faults: [] },
  ports: [{ port: 9080, name: 'http', protocol: 'http', declared: true }],
}
const mysql = { port: 3306, name: 'mysql', protocol: 'tcp', declared: true }
const definition = (name: string, versions = ['v1beta1', 'v1alpha1']) => ({
  name,
  versions,
  established: true,
  ours: true,
})
const trusted = {
  cluster: 'paris',
  issuing: { standing: 'fresh', notAfter: '2026-03-31' },
  bundle: { behind: false, acked: 4, proxies: 4, missing: [] },
}

const kube: CheckFacts['kube'] = {
  version: { value: { text: 'v1.33.1', major: 1, minor: 33 } },
  ...{ aheadMs: { value: 0 }, missingRights: { value: [] }, others: { value: [] } },
  issuer: { value: { issuer: 'https://issuer.test/id/1', keys: 1 } },
  nodes: { value: [node('a'), node('b')] },
  definitions: { value: [definition('serviceexports.multicluster.x-k8s.io')] },
  ...{ serviceCidrs: { value: ['10.96.0.0/16'] }, namespaces: { value: ['bookinfo', 'default'] } },
  corefile: { value: '.:53 { forward . /etc/resolv.conf }\nclusterset.local:53 {\n  forward . 10.96.0.53\n}' },
  ...{ installed: { value: installed }, exports: { value: [reviews] }, unexported: { value: ['default/kubernetes'] } },
}
const centre: CheckFacts['centre'] = {
  health: { value: { version: '0.1.0', aheadMs: 0 } },
  members: { value: [paris, { ...paris, name: 'oslo', network: 'vpc-2' }] },
  gateways: { value: [{ cluster: 'paris', address: '203.0.113.9', port: 15443, state: 'ready' }] },
  trust: { value: [trusted] },
  imports: { value: [{ service: 'bookinfo/ratings', sources: ['oslo'] }] },
}
const good: CheckFacts = {
  ...{ now, said: 'context paris', version: '0.1.0', kube, centre },
  sights: { value: [{ from: 'oslo', down: [], phase: 'open' }] },
}

const inKube = (more: Partial<CheckFacts['kube']>): CheckFacts => ({ ...good, kube: { ...kube, ...more } })
const atCentre = (more: Partial<CheckFacts['centre']>): CheckFacts => ({ ...good, centre: { ...centre, ...more } })
const installedAs = (more: Partial<InstalledFact>): CheckFacts =>
  inKube({ installed: { value: { ...installed, ...more } } })
const asMember = (more: Partial<MemberFact>): CheckFacts => atCentre({ members: { value: [{ ...paris, ...more }] } })
const exporting = (more: Partial<ExportFact>): CheckFacts => inKube({ exports: { value: [{ ...reviews, ...more }] } })
const nodes = (...all: readonly NodeFact[]): CheckFacts => inKube({ nodes: { value: all } })

function finding(id: string, facts: CheckFacts): Finding {
  const found = findingsOf(checks, facts).find((one) => one.id === id)
  if (!found) throw new Error(`there is no check ${id}`)
  return found
}

test('of a cluster that is well each check says so', () => {
  const findings = findingsOf(checks, good)
  expect(findings.filter(({ result }) => result !== 'ok')).toEqual([])
  expect(exitCodeOf(findings)).toBe(0)
  expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length)
  expect(checks.length).toBeGreaterThanOrEqual(25)
})

type Case = readonly [id: string, name: string, facts: CheckFacts, result: string, says: RegExp]
const cases: readonly Case[] = [
  ['api-server', 'away', inKube({ version: { unknown: 'it does not answer' } }), 'fail', /it does not answer.*whoami/],
  [
    'centre',
    'away',
    atCentre({ health: { unknown: 'it does not answer' } }),
    'fail',
    /it does not answer.*isthmus status/,
  ],
  [
    'kubernetes-version',
    'too old',
    inKube({ version: { value: { text: 'v1.28.9', major: 1, minor: 28 } } }),
    'fail',
    /1\.28/,
  ],
  ['api-rights', 'one short', inKube({ missingRights: { value: ['create secrets'] } }), 'fail', /create secrets/],
  [
    'clock-cluster',
    'two minutes ahead',
    inKube({ aheadMs: { value: 120_000 } }),
    'warn',
    /120 s ahead of this machine/,
  ],
  ['clock-cluster', 'an hour behind', inKube({ aheadMs: { value: -3_600_000 } }), 'fail', /3600 s behind/],
  [
    'clock-centre',
    'ahead',
    atCentre({ health: { value: { version: '0.1.0', aheadMs: 300_000 } } }),
    'fail',
    /300 s ahead/,
  ],
  [
    'clocks-apart',
    'each a little',
    {
      ...inKube({ aheadMs: { value: 40_000 } }),
      centre: { ...centre, health: { value: { version: '0.1.0', aheadMs: -40_000 } } },
    },
    'warn',
    /the cluster is 80 s ahead of the centre/,
  ],
  [
    'centre-version',
    'another',
    atCentre({ health: { value: { version: '0.2.0', aheadMs: 0 } } }),
    'warn',
    /centre 0\.2\.0, command 0\.1\.0/,
  ],
  ['issuer', 'without keys', inKube({ issuer: { value: { issuer: 'https://x', keys: 0 } } }), 'fail', /has no keys/],
  ['issuer', 'no https', inKube({ issuer: { value: { issuer: 'kubernetes', keys: 1 } } }), 'fail', /no https URL/],
  ['nodes-ready', 'none', nodes(node('a', { ready: false })), 'fail', /none of 1/],
  ['nodes-ready', 'one', nodes(node('a'), node('b', { ready: false })), 'warn', /one node/],
  ['node-places', 'no zone', nodes(node('a'), node('b', { zone: '' })), 'warn', /without region or zone: b/],
  [
    'node-places',
    'of two regions',
    nodes(node('a'), node('b', { region: 'us-east-1' })),
    'warn',
    /2 regions: eu-west-1, us-east-1/,
  ],
  [
    'node-architectures',
    'one that cannot',
    nodes(node('a'), node('b', { architecture: 's390x' })),
    'warn',
    /b \(s390x\)/,
  ],
  ['node-architectures', 'none that can', nodes(node('a', { architecture: 's390x' })), 'fail', /no node can run/],
  [
    'crd-versions',
    'old versions only',
    inKube({ definitions: { value: [definition('serviceimports.multicluster.x-k8s.io', ['v1alpha0'])] } }),
    'fail',
    /serves v1alpha0/,
  ],
  [
    'crd-versions',
    'not established',
    inKube({ definitions: { value: [{ ...definition('samenessgroups.isthmus.dev'), established: false }] } }),
    'fail',
    /not taken/,
  ],
  [
    'other-agents',
    'another relay',
    inKube({ others: { value: ['shop/relay: another relay'] } }),
    'fail',
    /another relay/,
  ],
  ['other-agents', 'Submariner', inKube({ others: { value: ['x/y: Submariner'] } }), 'warn', /Submariner.*only one/],
  ['node-architectures', 'said by no node', nodes(node('a', { architecture: '' })), 'unknown', /no node says/],
  [
    'address-overlap',
    'pods and services',
    inKube({ serviceCidrs: { value: ['10.11.0.0/16'] } }),
    'fail',
    /10\.11\.0\.0\/24 of pods and 10\.11\.0\.0\/16 of services/,
  ],
  [
    'address-overlap',
    'the cluster set and nodes',
    installedAs({ clusterSetCidr: '172.16.0.0/12' }),
    'fail',
    /172\.16\.0\.4\/32 of nodes and .* of the cluster set/,
  ],
  [
    'address-overlap',
    'nothing known',
    inKube({ nodes: { unknown: 'x' }, serviceCidrs: { unknown: 'y' } }),
    'unknown',
    /no range is told/,
  ],
  [
    'shared-network',
    'with another member',
    atCentre({ members: { value: [paris, { ...paris, name: 'oslo' }] } }),
    'warn',
    /also that of oslo/,
  ],
  [
    'relay-ready',
    'one of two',
    installedAs({ relay: { ready: 1, wanted: 2, isDone: false, why: 'pod relay-2 finds no node' } }),
    'warn',
    /1\/2: pod relay-2/,
  ],
  ['relay-ready', 'none', installedAs({ relay: { ready: 0, wanted: 2, isDone: false } }), 'fail', /0\/2/],
  ['relay-ready', 'nothing installed', inKube({ installed: { value: undefined } }), 'fail', /nothing is installed/],
  [
    'gateway-ready',
    'cannot pull',
    installedAs({ gateway: { ready: 0, wanted: 2, isDone: false, why: 'cannot pull x', mend: 'name a registry' } }),
    'fail',
    /cannot pull x.*name a registry/,
  ],
  [
    'relay-rights',
    'one verb short',
    installedAs({ missingRules: { value: ['watch services'] } }),
    'fail',
    /it may not: watch services/,
  ],
  ['member', 'expected', asMember({ state: 'expected' }), 'fail', /paris is expected/],
  ['member', 'unknown to the centre', atCentre({ members: { value: [] } }), 'fail', /knows no paris/],
  ['heard', 'silent', asMember({ lastSeenAt: now - 10 * 60_000 }), 'fail', /600 s ago/],
  [
    'one-relay',
    'two report',
    asMember({ conditions: [{ type: 'OneRelay', status: 'False', message: 'two relays report as paris' }] }),
    'fail',
    /two relays report/,
  ],
  [
    'one-relay',
    'a stranger has the Lease',
    installedAs({ lease: { value: { holder: 'x', renewedAt: now } } }),
    'fail',
    /none of its pods/,
  ],
  [
    'one-relay',
    'nobody renews it',
    installedAs({ lease: { value: { holder: 'relay-1', renewedAt: now - 300_000 } } }),
    'fail',
    /300 s ago, nobody since/,
  ],
  ['one-relay', 'no Lease', installedAs({ lease: { value: undefined } }), 'fail', /no replica has/],
  [
    'reports-taken',
    'refused',
    asMember({ conditions: [{ type: 'ReportTaken', status: 'False', message: 'item x: no such port' }] }),
    'warn',
    /no such port/,
  ],
  ['relay-version', 'older', asMember({ relayVersion: '0.0.9' }), 'warn', /relay 0\.0\.9, centre 0\.1\.0/],
  ['join-token', 'left behind', installedAs({ hasJoinToken: { value: true } }), 'warn', /there still/],
  [
    'gateway-address',
    'none',
    { ...installedAs({ addresses: [] }), centre: { ...centre, gateways: { value: [] } } },
    'fail',
    /no load balancer/,
  ],
  ['gateway-address', 'not told', atCentre({ gateways: { value: [] } }), 'fail', /the centre knows none/],
  [
    'gateway-address',
    'down',
    atCentre({ gateways: { value: [{ cluster: 'paris', address: '203.0.113.9', port: 15443, state: 'down' }] } }),
    'fail',
    /203\.0\.113\.9:15443 down/,
  ],
  [
    'gateway-reachable',
    'not from oslo',
    { ...good, sights: { value: [{ from: 'oslo', down: ['203.0.113.9:15443'], phase: 'dead' }] } },
    'fail',
    /oslo does not reach 203/,
  ],
  [
    'gateway-reachable',
    'nobody says',
    { ...good, sights: { value: [] } },
    'unknown',
    /names no relay of another member/,
  ],
  [
    'clusterset-dns',
    'not told',
    inKube({ corefile: { value: '.:53 { forward . 1.1.1.1 }' } }),
    'warn',
    /does not know clusterset\.local.*forward \. 10\.96\.0\.53/,
  ],
  [
    'clusterset-dns',
    'elsewhere',
    inKube({ corefile: { value: 'clusterset.local { forward . 10.0.0.1 }' } }),
    'fail',
    /goes elsewhere/,
  ],
  ['issuing-certificate', 'none', atCentre({ trust: { value: [{ cluster: 'paris' }] } }), 'fail', /it has none/],
  [
    'issuing-certificate',
    'late',
    atCentre({ trust: { value: [{ ...trusted, issuing: { standing: 'urgent', notAfter: '2026-03-02' } }] } }),
    'fail',
    /urgent, until 2026-03-02/,
  ],
  [
    'trust-bundle',
    'old in one proxy',
    atCentre({
      trust: { value: [{ ...trusted, bundle: { behind: false, acked: 3, proxies: 4, missing: ['web-1'] } }] },
    }),
    'warn',
    /1 of 4 proxies .*web-1/,
  ],
  [
    'trust-bundle',
    'an old one',
    atCentre({ trust: { value: [{ ...trusted, bundle: { ...trusted.bundle, behind: true } }] } }),
    'warn',
    /not taken the newest/,
  ],
  [
    'trust-bundle',
    'never said',
    atCentre({ trust: { value: [{ cluster: 'paris', issuing: trusted.issuing }] } }),
    'unknown',
    /has not said/,
  ],
  ['exports-valid', 'no Service', exporting({ exists: false }), 'fail', /bookinfo\/reviews has no Service/],
  ['exports-valid', 'a conflict', exporting({ faults: ['Conflict: other ports'] }), 'fail', /Conflict: other ports/],
  ['exports-ready', 'no pods', exporting({ ready: 0 }), 'warn', /no ready pods: bookinfo\/reviews/],
  [
    'exports-meshed',
    'a pod without a proxy',
    exporting({ unmeshed: ['reviews-1'] }),
    'warn',
    /without a proxy: bookinfo\/reviews/,
  ],
  [
    'port-protocols',
    'said nowhere',
    exporting({ ports: [{ port: 80, name: 'x', protocol: 'tcp', declared: false }] }),
    'warn',
    /bookinfo\/reviews:80/,
  ],
  [
    'permissive-server-first',
    'MySQL',
    exporting({ ports: [mysql], permissive: true }),
    'warn',
    /bookinfo\/reviews:3306/,
  ],
  ['permissive-server-first', 'MySQL, STRICT', exporting({ ports: [mysql] }), 'ok', /none/],
  [
    'names-that-differ',
    'an own one',
    inKube({ unexported: { value: ['bookinfo/ratings'] } }),
    'warn',
    /not exported here: bookinfo\/ratings/,
  ],
  [
    'namespaces',
    'one is missing',
    inKube({ namespaces: { value: ['default'] } }),
    'warn',
    /not here: bookinfo.*kubectl create namespace bookinfo/,
  ],
]

describe('what is not well', () => {
  test.each(cases)('%s: %s', (id, _, facts, result, says) => {
    const { found, fix = '', ...one } = finding(id, facts)
    expect([one.result, `${found}; ${fix}`]).toEqual([result, expect.stringMatching(says)])
    expect(['ok', 'unknown'].includes(one.result) || fix !== '').toBe(true)
  })

  test('is looked for by every check', () => {
    expect(checks.map(({ id }) => id).filter((id) => !cases.some(([one]) => one === id))).toEqual([])
  })
})

describe('what is not known', () => {
  const lost = { unknown: 'the API server is away' } as const
  const away = { unknown: 'the centre is away' } as const
  const all = <T extends object>(of: T, to: { readonly unknown: string }): T =>
    Object.fromEntries(Object.keys(of).map((key) => [key, to])) as T

  test('is never called well, nor bad', () => {
    const findings = findingsOf(checks, { ...good, kube: all(kube, lost), centre: all(centre, away), sights: away })
    const answers = findings.filter(({ id }) => ['api-server', 'centre'].includes(id))
    expect(answers.map(({ result, found }) => [result, found])).toEqual([
      ['fail', 'the API server is away'],
      ['fail', 'the centre is away'],
    ])
    const others = findings.filter((one) => !answers.includes(one))
    expect(others.filter(({ result }) => result !== 'unknown')).toEqual([])
    expect([exitCodeOf(others), exitCodeOf(findings)]).toEqual([2, 1])
  })

  test('of the centre hides nothing of the cluster', () => {
    const findings = findingsOf(checks, { ...good, centre: all(centre, away) })
    expect(findings.filter(({ result }) => result === 'ok').length).toBeGreaterThan(15)
    expect(findings.filter(({ result }) => !['ok', 'unknown'].includes(result)).map(({ id }) => id)).toEqual(['centre'])
  })
})

test('what others wrote is as old as it is by their clocks', () => {
  const health = { value: { version: '0.1.0', aheadMs: -600_000 } } as const
  const behind = { ...asMember({ lastSeenAt: now - 605_000 }) }
  expect(finding('heard', { ...behind, centre: { ...behind.centre, health } })).toMatchObject({
    result: 'ok',
    found: '5 s ago',
  })
  const late = installedAs({ lease: { value: { holder: 'relay-1', renewedAt: now - 605_000 } } })
  expect(finding('one-relay', late).result).toBe('fail')
  expect(finding('one-relay', { ...late, kube: { ...late.kube, aheadMs: { value: -600_000 } } }).result).toBe('ok')
})

test('a failure weighs more than what is not known', () => {
  expect(
    exitCodeOf([
      finding('member', asMember({ state: 'left' })),
      finding('gateway-reachable', { ...good, sights: { value: [] } }),
    ]),
  ).toBe(1)
})
