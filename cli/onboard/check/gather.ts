import { askRelays } from '#cli/ask-relays.ts'
import { callCentre, listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import {
  type CheckFacts,
  type Known,
  known,
  later,
  type MemberFact,
  type SightFact,
  type TrustFact,
} from '#cli/onboard/check/facts.ts'
import { readKube } from '#cli/onboard/check/gather-kube.ts'
import { readExports } from '#cli/onboard/check/gather-services.ts'
import type { ClusterApi } from '#cli/onboard/cluster-api.ts'
import { conditionsOf } from '#cli/onboard/membership.ts'
import { cell, type Row } from '#cli/output.ts'
import { Problem } from '#mesh/model/problem.ts'
import { version } from '#mesh/model/version.ts'

export type GatherParts = {
  readonly api: ClusterApi
  /** Throws where none is chosen: then nothing of it is known. */
  readonly centre: () => Centre
  /** Unix ms, of this machine. */
  readonly now: () => number
  /** Only what says something before a join. */
  readonly pre: boolean
}

/** Everything that the checks judge, from the API server, the centre and the relays that the context names. */
export async function gatherFacts({ api, centre, now, pre }: GatherParts): Promise<CheckFacts> {
  const after = <T>(read: () => Promise<T>): Promise<Known<T>> => (pre ? Promise.resolve(later) : known(read))
  const reading = readKube(api, { now, pre })
  const [health, members, gateways, trust, imports, services, kube] = await Promise.all([
    known(() => healthOf(centre(), now)),
    known(async () => (await listAll(centre(), '/v1/clusters')).map(memberFrom)),
    after(async () => (await listAll(centre(), '/v1/gateways')).map(gatewayFrom)),
    after(() => trustOf(centre())),
    after(async () => (await listAll(centre(), '/v1/service-exports')).map(exportFrom)),
    after(() => readExports(api)),
    reading,
  ])
  const cluster = 'value' in kube.installed ? kube.installed.value?.cluster : undefined
  const sights = await after(() => sightsOf(centre(), cluster))
  const of = <K extends 'exports' | 'unexported'>(key: K) =>
    'value' in services ? { value: services.value[key] } : services
  return {
    ...{ now: now(), said: api.said, version },
    kube: { ...kube, exports: of('exports'), unexported: of('unexported') },
    centre: {
      ...{ health, members, gateways, trust },
      imports: 'value' in imports ? { value: elsewhere(imports.value, cluster) } : imports,
    },
    sights,
  }
}

async function healthOf(centre: Centre, now: () => number) {
  const asked = now()
  const { body } = await callCentre(centre, { method: 'GET', path: '/healthz' })
  const { version: theirs, time } = (body ?? {}) as { readonly version?: unknown; readonly time?: unknown }
  if (typeof time !== 'number') throw new Problem('unavailable', 'the centre does not say what time it is')
  return { version: cell(theirs), aheadMs: time - (asked + now()) / 2 }
}

function memberFrom(row: Row): MemberFact {
  const lastSeenAt = Date.parse(String(row['lastSeenAt']))
  return {
    ...{ name: cell(row['name']), state: cell(row['state']), network: cell(row['network']) },
    relayVersion: cell(row['relayVersion']),
    ...(Number.isNaN(lastSeenAt) ? {} : { lastSeenAt }),
    conditions: conditionsOf(row).map(({ type, status, message }) => ({
      ...{ type: cell(type), status: cell(status), message: cell(message) },
    })),
  }
}

const gatewayFrom = (row: Row) => ({
  ...{ cluster: cell(row['cluster']), address: cell(row['address']) },
  ...{ port: Number(row['port']), state: cell(row['state']) },
})

const exportFrom = (row: Row) => ({
  ...{ service: `${cell(row['namespace'])}/${cell(row['name'])}`, cluster: cell(row['cluster']) },
})

/** By service, who but this cluster exports it. */
function elsewhere(rows: readonly ReturnType<typeof exportFrom>[], cluster: string | undefined) {
  const others = Map.groupBy(
    rows.filter((row) => row.cluster !== cluster),
    ({ service }) => service,
  )
  return [...others].map(([service, from]) => ({ service, sources: from.map((one) => one.cluster) }))
}

type SaidTrust = {
  readonly bundle?: { readonly seq: number } | null
  readonly clusters?: readonly {
    readonly cluster: string
    readonly issuing: TrustFact['issuing'] | null
    readonly bundle: {
      readonly seq: number
      readonly acked: number
      readonly proxies: number
      readonly missing: readonly string[]
      readonly fault?: { readonly detail: string }
    } | null
  }[]
}

async function trustOf(centre: Centre): Promise<readonly TrustFact[]> {
  const { body } = await callCentre(centre, { method: 'GET', path: '/v1/trust' })
  const { bundle: newest, clusters = [] } = body as SaidTrust
  return clusters.map(({ cluster, issuing, bundle }) => ({
    cluster,
    ...(issuing ? { issuing } : {}),
    ...(bundle
      ? {
          bundle: {
            behind: newest !== null && newest !== undefined && bundle.seq < newest.seq,
            ...{ acked: bundle.acked, proxies: bundle.proxies, missing: bundle.missing },
            ...(bundle.fault ? { fault: bundle.fault.detail } : {}),
          },
        }
      : {}),
  }))
}

/** Relays that do not answer say nothing of a gateway. */
async function sightsOf(centre: Centre, cluster: string | undefined): Promise<readonly SightFact[]> {
  if (cluster === undefined) return []
  const answers = await askRelays(centre)
  return answers.flatMap(({ cluster: from, body }) => {
    const { clusters = [] } = (body?.['traffic'] ?? {}) as { readonly clusters?: readonly Row[] }
    const sight = clusters.find((one) => one['cluster'] === cluster)
    if (from === cluster || sight === undefined) return []
    const down = Array.isArray(sight['gatewaysDown']) ? sight['gatewaysDown'].map(cell) : []
    return [{ from, down, phase: cell(sight['phase']) }]
  })
}
