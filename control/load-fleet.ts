import { parseReport } from '#control/parse-report.ts'
import { loadTrustedRoots } from '#control/store/authorities.ts'
import type { ClusterRow } from '#control/store/clusters.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadOpenDrains } from '#control/store/drains.ts'
import { loadExportAges } from '#control/store/export-ages.ts'
import { loadNarrowings, type ServiceExportRow } from '#control/store/exports.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import { loadMemberObjects } from '#control/store/member-objects.ts'
import { loadGroups, loadPolicies, type SamenessGroupRow, type TrafficPolicyRow } from '#control/store/policies.ts'
import { loadPolicySeq } from '#control/store/policy-history.ts'
import { loadRevocations, type RevocationRow } from '#control/store/revocations.ts'
import { loadLive, loadStreams } from '#control/store/streams.ts'
import { memberSetOf, nothingSaid, type SaidObjects, saidObjects } from '#control/traffic/member-objects.ts'
import { loadPolicySources } from '#control/traffic/policy-sources.ts'
import { parseDrainSubject } from '#mesh/model/drain.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Fleet, IdleObject, Member, ServiceDrain } from '#mesh/model/fleet.ts'
import {
  type MeshName,
  parseClusterId,
  parseClusterName,
  parseNetworkName,
  type ServiceKey,
  serviceKey,
} from '#mesh/model/id.ts'
import type { SamenessGroup, TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { parseStoredPolicy } from '#mesh/policy/parse-policy.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { reportStream, type StreamName } from '#mesh/wire/stream.ts'

/** What one cluster's report says that config is compiled from. */
type Reported = Pick<Member, 'exports' | 'refused' | 'setAside'>

/** Reports as parsed before, by stream: a report whose head has not moved is not read again. */
export type ReportMemo = Map<
  string,
  { readonly position: string; readonly reported: Reported; readonly said: SaidObjects }
>

/**
 * Everything that config is compiled from. Members, reports, narrowings and roots are read one after the other, so they
 * may be of slightly different moments: whatever commits meanwhile has left an outbox row, and is compiled next.
 */
export async function loadFleet(tx: Tx, mesh: MeshName, memo: ReportMemo): Promise<Fleet> {
  const members = await loadMembers(tx, mesh)
  const positions = new Map(
    (await loadStreams(tx, mesh, ['rep'])).map((row) => [row.stream, `${row.epoch} ${row.head}`]),
  )
  for (const stream of memo.keys()) if (!positions.has(stream)) memo.delete(stream)
  const { idle, ...policySet } = await loadPolicySet(tx, mesh)
  const full: Member[] = []
  for (const row of members) {
    const told = idle.get(row.name)
    full.push({ ...(await memberFrom(tx, row, positions, memo)), ...(told ? { idle: told } : {}) })
  }
  return {
    mesh,
    roots: await loadTrustedRoots(tx, mesh),
    members: full,
    narrowings: (await loadAllNarrowings(tx, mesh)).map(narrowingFrom),
    ...(await foreignFrom(tx, mesh)),
    ...cutsFrom(await loadRevocations(tx, mesh)),
    ...policySet,
    ...(await loadServiceDrains(tx, mesh)),
  }
}

/** The fleet, and the number of the last change of its policies that is in it for certain. */
export async function loadNumberedFleet(
  tx: Tx,
  mesh: MeshName,
  memo: ReportMemo,
): Promise<{ readonly fleet: Fleet; readonly policies: number }> {
  for (let tries = 3; ; tries--) {
    const policies = await loadPolicySeq(tx, mesh)
    const fleet = await loadFleet(tx, mesh, memo)
    if (tries === 1 || (await loadPolicySeq(tx, mesh)) === policies) return { fleet, policies }
  }
}

/**
 * Policies and groups as the compiler takes them, those of members among them, and what members are to be told of theirs
 * that are not in force. One that this version cannot read (an older centre after a newer one)
 * is left out: it must not end publishing for all.
 */
export async function loadPolicySet(
  tx: Tx,
  mesh: MeshName,
): Promise<Pick<Fleet, 'policies' | 'groups'> & { readonly idle: ReadonlyMap<string, readonly IdleObject[]> }> {
  const theirs = memberSetOf(await loadMemberObjects(tx, mesh), await loadPolicySources(tx, mesh))
  const policies = [...(await loadPolicies(tx, mesh)).flatMap((row) => policyFrom(row) ?? []), ...theirs.policies]
  const groups = [...(await loadGroups(tx, mesh)).map(groupFrom), ...theirs.groups]
  return {
    idle: theirs.idle,
    ...(policies.length > 0 ? { policies } : {}),
    ...(groups.length > 0 ? { groups } : {}),
  }
}

/** Services on their way out of a cluster, as the compiler takes them; absent where there is none. */
async function loadServiceDrains(tx: Tx, mesh: MeshName): Promise<Pick<Fleet, 'serviceDrains'>> {
  const drains = (await loadOpenDrains(tx, mesh)).flatMap((row): ServiceDrain[] => {
    const subject = parseDrainSubject(row.kind, row.subject)
    if (subject.kind !== 'service' || (row.state === 'ramping' && row.percent === 100)) return []
    const isClosing = row.state === 'closing' || row.state === 'proving' || row.state === 'done'
    const { service: key, cluster } = subject
    return [{ key, cluster, percent: row.percent, ...(isClosing ? { closing: true as const } : {}) }]
  })
  return drains.length > 0 ? { serviceDrains: drains } : {}
}

/** A stored policy; undefined where this version cannot read it. */
export function policyFrom(row: TrafficPolicyRow): TrafficPolicy | undefined {
  try {
    return parseStoredPolicy(row)
  } catch {
    return undefined
  }
}

export const groupFrom = ({ name, clusters, revision }: SamenessGroupRow): SamenessGroup => ({
  name,
  clusters: parseConsumers(clusters).map(parseClusterName),
  revision,
})

async function foreignFrom(tx: Tx, mesh: MeshName): Promise<Pick<Fleet, 'foreign'>> {
  const foreign = (await loadForeignDomains(tx, mesh)).map((row) => parseTrustDomain(row.trustDomain))
  return foreign.length === 0 ? {} : { foreign }
}

/** Also of those that were taken back: a name that went on to a cut never goes back, or it would be renamed twice. */
function cutsFrom(rows: readonly RevocationRow[]): Pick<Fleet, 'cuts'> {
  if (rows.length === 0) return {}
  return {
    cuts: rows.map(({ cut, exports }) => {
      const places = JSON.parse(exports) as string[]
      const isCaller = (place: string): boolean => place.includes(':')
      return {
        cut,
        exports: new Set(places.filter((place) => !isCaller(place))),
        callers: new Set(places.filter(isCaller)),
      }
    }),
  }
}

async function memberFrom(
  tx: Tx,
  row: ClusterRow,
  positions: ReadonlyMap<string, string>,
  memo: ReportMemo,
): Promise<Member> {
  const stream = reportStream(row.name)
  const position = positions.get(stream)
  const known = memo.get(stream)
  const { reported, said } = known && known.position === position ? known : await loadReported(tx, row, stream)
  if (position !== undefined) memo.set(stream, { position, reported, said })
  return {
    id: parseClusterId(row.id),
    name: parseClusterName(row.name),
    network: parseNetworkName(row.network),
    region: row.region,
    trustDomain: parseTrustDomain(row.trustDomain),
    ...(row.generation > 1 ? { generation: row.generation } : {}),
    ...(row.issuingBefore === null ? {} : { issuingBefore: row.issuingBefore }),
    ...(row.sharedDomain === true ? { shared: true as const } : {}),
    ...reported,
  }
}

async function loadReported(
  tx: Tx,
  row: ClusterRow,
  stream: StreamName,
): Promise<{ readonly reported: Reported; readonly said: SaidObjects }> {
  const items = await loadLive(tx, { mesh: row.mesh, stream })
  const { exports, refused, setAside } = parseReport(items)
  const dated = { exports: await datedExports(tx, row, exports), refused }
  return { reported: { ...dated, ...(setAside.length > 0 ? { setAside } : {}) }, said: saidObjects(items) }
}

/** What the members of a fleet that was just loaded say of their own policies and groups. */
export const saidIn = (memo: ReportMemo, cluster: string): SaidObjects =>
  memo.get(reportStream(parseClusterName(cluster)))?.said ?? nothingSaid

/**
 * Exports as old as the centre knows them. Their age decides who wins where two clusters disagree, so what a cluster says
 * of it counts for nothing. One that was there before ages were kept is as old as its cluster's membership.
 */
export async function datedExports(
  tx: Tx,
  { mesh, name, joinedAt, createdAt }: ClusterRow,
  exports: ReadonlyMap<ServiceKey, ServiceExport>,
): Promise<ReadonlyMap<ServiceKey, ServiceExport>> {
  const ages = await loadExportAges(tx, { mesh, cluster: name })
  const since = joinedAt ?? createdAt
  return new Map([...exports].map(([key, one]) => [key, { ...one, createdAt: ages.get(key) ?? since }]))
}

export async function loadAllNarrowings(tx: Tx, mesh: MeshName): Promise<ServiceExportRow[]> {
  const all: ServiceExportRow[] = []
  for (let after = ''; ; ) {
    const page = await loadNarrowings(tx, mesh, after, 500)
    all.push(...page)
    const last = page.at(-1)
    if (page.length < 500 || !last) return all
    after = last.id
  }
}

/** A stored narrowing as the compiler takes it. */
export const narrowingFrom = (row: ServiceExportRow): ExportNarrowing => ({
  key: serviceKey(row.namespace, row.name),
  ...(row.cluster === '' ? {} : { cluster: parseClusterName(row.cluster) }),
  consumers: parseConsumers(row.consumers),
})

const parseConsumers = (text: string) => JSON.parse(text) as string[]
