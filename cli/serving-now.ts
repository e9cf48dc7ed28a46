import { askRelays } from '#cli/ask-relays.ts'
import { listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { type Column, cell, type Row } from '#cli/output.ts'

const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? (value as Row[]) : [])

/**
 * Imports whose tiers say of every cluster how many of its pods are ready, and what stands in the way. An import is what
 * was compiled, and that stays when pods die and when a whole cluster does: by itself it does not tell who answers now.
 * Counts are the last that a cluster told; one that died just now is known by its relay, where the context names it.
 */
export async function withReadyPods(imports: readonly Row[], centre: Centre): Promise<readonly Row[]> {
  if (imports.length === 0) return imports
  const [dead, endpoints, clusters, gateways] = await Promise.all([
    deadRelays(centre),
    listAll(centre, '/v1/endpoints'),
    listAll(centre, '/v1/clusters'),
    listAll(centre, '/v1/gateways'),
  ])
  const ready = readyBy(endpoints)
  const silent = new Set(clusters.filter(isSilent).map((one) => cell(one['name'])))
  const shut = new Set(
    [...Map.groupBy(gateways, (one) => cell(one['cluster']))]
      .filter(([, of]) => of.every(({ state }) => state === 'down'))
      .map(([cluster]) => cluster),
  )
  const noteOf = (cluster: string, caller: unknown): object => {
    if (dead.has(cluster)) return { note: 'relay does not answer' }
    if (silent.has(cluster)) return { note: 'silent' }
    return shut.has(cluster) && cluster !== caller ? { note: 'gateway down' } : {}
  }
  return imports.map((row) => ({
    ...row,
    tiers: (Array.isArray(row['tiers']) ? row['tiers'] : []).map((tier) =>
      rowsOf(tier).map((member) => {
        const cluster = cell(member['cluster'])
        const pods = ready.get(`${cell(row['namespace'])}/${cell(row['name'])}/${cluster}`) ?? 0
        return { ...member, ready: pods, ...noteOf(cluster, row['cluster']) }
      }),
    ),
  }))
}

async function deadRelays(centre: Centre): Promise<ReadonlySet<string>> {
  return new Set((await askRelays(centre)).filter(({ body }) => !body).map(({ cluster }) => cluster))
}

/** Ready pods by service and cluster: over all zones, and of the port that has fewest. */
function readyBy(endpoints: readonly Row[]): ReadonlyMap<string, number> {
  const byPort = new Map<string, Map<string, number>>()
  for (const one of endpoints) {
    const key = `${cell(one['namespace'])}/${cell(one['name'])}/${cell(one['cluster'])}`
    const ports = byPort.get(key) ?? new Map<string, number>()
    const port = cell(one['port'])
    byPort.set(key, ports.set(port, (ports.get(port) ?? 0) + Number(one['ready'] ?? 0)))
  }
  return new Map([...byPort].map(([key, ports]) => [key, Math.min(...ports.values())]))
}

const isSilent = (cluster: Row): boolean =>
  rowsOf(cluster['conditions']).some(({ type, status }) => type === 'Heard' && status !== 'True')

/** Clusters in the order in which they are tried, each with its ready pods; those tried together share a place, by weight. */
export const triedInOrder: Column = [
  'TRIED IN ORDER (READY PODS)',
  (row) =>
    rowsOf(row['tiers'])
      .map((tier) => rowsOf(tier).map(memberText).join(' + '))
      .join(' > ') || '–',
]

const memberText = ({ cluster, weight = 1, ready, note }: Row): string => {
  const share = weight === 1 ? '' : ` ×${cell(weight)}`
  return `${cell(cluster)}${share}${ready === undefined ? '' : ` (${cell(ready)}${note === undefined ? '' : `, ${cell(note)}`})`}`
}
