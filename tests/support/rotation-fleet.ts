import { expect } from 'vitest'
import { z } from 'zod'
import type { Fleet, FleetSpec } from '#tests/support/fleet.ts'
import { sniOfApp } from '#tests/support/fleet-cluster.ts'
import type { FleetProxy } from '#tests/support/fleet-proxy.ts'
import type { Pair } from '#tests/support/handshake-load.ts'
import { sayTcp } from '#tests/support/protocol-client.ts'
import { eventually } from '#tests/support/until.ts'

const ports = ['http', 'tcp'] as const
const apps = { oslo: 'otter', paris: 'puma', rome: 'raven' } as const
export type Member = keyof typeof apps
export const members = Object.keys(apps) as Member[]

/** Three clusters with a network each, one pod in each, and every one's app exported to all. */
export const rotationSpec: FleetSpec = Object.fromEntries(
  Object.entries(apps).map(([name, app]) => [
    name,
    { pods: { [`${app}-1`]: { app, ports } }, exports: { [app]: '*' } },
  ]),
)

/** The one pod of a cluster. */
export const podOf = (fleet: Fleet, name: Member) => fleet.cluster(name).pod(`${apps[name]}-1`)

/** All directed pairs of clusters: from each one's pod through the other's gateway to the other's pod. */
export const pairsOf = (fleet: Fleet): Pair[] =>
  members.flatMap((from) =>
    members
      .filter((to) => to !== from)
      .map((to) => ({
        name: `${from}→${to}`,
        target: podOf(fleet, from).to(apps[to], 'tcp'),
        answers: `${apps[to]}-1`,
      })),
  )

/** Resolves when every pair has been answered. */
export async function untilAllReach(fleet: Fleet): Promise<void> {
  await Promise.all(
    pairsOf(fleet).map(({ name, target }) => eventually(30_000, name, async () => sayTcp(target, 'are you there?'))),
  )
}

export type BorderCounts = { readonly handshakes: number; readonly resumed: number; readonly passed: number }

/** What the Envoys counted of all pairs: handshakes and resumptions at the callees' doors, connections their gateways passed on. */
export async function borderCounts(fleet: Fleet): Promise<BorderCounts> {
  const sums = await Promise.all(
    members.map(async (name) => {
      const inbound = await podOf(fleet, name).stats('^listener\\..*_8083\\.ssl\\.(handshake|session_reused)$')
      const gateway = await fleet.cluster(name).gateway.stats(`${apps[name]}.*upstream_cx_total$`)
      const of = (end: string) =>
        [...inbound].flatMap(([stat, value]) => (stat.endsWith(end) ? [value] : [])).reduce((a, b) => a + b, 0)
      const passed = gateway.get(`cluster.${sniOfApp(apps[name], 'tcp')};.upstream_cx_total`) ?? 0
      return { handshakes: of('.handshake'), resumed: of('.session_reused'), passed }
    }),
  )
  return sums.reduce((a, b) => ({
    handshakes: a.handshakes + b.handshakes,
    resumed: a.resumed + b.resumed,
    passed: a.passed + b.passed,
  }))
}

/** Serial numbers of what one Envoy holds: its certificate, and the mesh roots by which it judges others. */
export type Held = { readonly own: readonly string[]; readonly roots: readonly string[] }

/** Of every Envoy of the fleet, the pods' and the gateways', by name. */
export async function heldByAll(fleet: Fleet): Promise<ReadonlyMap<string, Held>> {
  const proxies = members.flatMap((name) => [
    [`pod of ${name}`, podOf(fleet, name)] as const,
    [`gateway of ${name}`, fleet.cluster(name).gateway] as const,
  ])
  return new Map(await Promise.all(proxies.map(async ([name, proxy]) => [name, await heldBy(proxy)] as const)))
}

async function heldBy(proxy: FleetProxy): Promise<Held> {
  const { certificates } = certsSchema.parse(JSON.parse(await proxy.admin('/certs')))
  const serials = (of: 'ca_cert' | 'cert_chain') =>
    [...new Set(certificates.flatMap((one) => one[of].map(({ serial_number: serial }) => serial)))].sort()
  return { own: serials('cert_chain'), roots: serials('ca_cert') }
}

const numbered = z.array(z.object({ serial_number: z.string() })).default([])
const certsSchema = z.object({ certificates: z.array(z.object({ ca_cert: numbered, cert_chain: numbered })) })

/** Every Envoy has another certificate and another root: of the roots, that of the relay's own line may have stayed. */
export function expectReplaced(before: ReadonlyMap<string, Held>, after: ReadonlyMap<string, Held>): void {
  for (const [name, { own, roots }] of before) {
    const now = after.get(name)
    expect(now?.own, `the certificate of the ${name}`).toHaveLength(1)
    expect(now?.own, `the certificate of the ${name}`).not.toEqual(own)
    expect(now?.roots, `the roots of the ${name}`).toHaveLength(roots.length)
    const gone = roots.filter((serial) => !now?.roots.includes(serial))
    expect(gone, `roots of before at the ${name}`).toHaveLength(1)
  }
}
