import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { loadClusters } from '#control/store/clusters.ts'
import { LostRace, type Tx } from '#control/store/database.ts'
import {
  deleteForeignDomain,
  type ForeignDomainRow,
  insertForeignDomain,
  loadForeignDomain,
  loadForeignDomains,
  updateForeignDomain,
} from '#control/store/foreign-domains.ts'
import { loadMesh } from '#control/store/meshes.ts'
import {
  insertRevocation,
  loadRevocation,
  loadStanding,
  type RevocationRow,
  undoRevocationRow,
} from '#control/store/revocations.ts'
import { changeTrust } from '#control/trust/bundle.ts'
import { nextCut, placesOpenTo } from '#control/trust/cuts.ts'
import { loadKnownAuthorities } from '#control/trust/known-authorities.ts'
import { marketOf } from '#mesh/compile/offer.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { MeshName, TrustDomain } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import { type Certificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { type ForeignBundle, readForeignBundle } from '#mesh/trust/foreign-bundle.ts'
import { trustDomainFault } from '#mesh/trust/spiffe-id.ts'

export type FederationAsked = {
  readonly trustDomain: string
  /** The text of what the other mesh gave: a SPIFFE bundle (JSON), or PEM. */
  readonly bundle: string
  /** The revision that the caller has seen (If-Match); 0 = none. */
  readonly expected?: number | undefined
}

export type Federated = { readonly row: ForeignDomainRow; readonly created: boolean }

/**
 * Brings another mesh's roots in, or replaces them: from the next bundle on its workloads may be admitted to exports that
 * name its trust domain. The same again changes nothing. While they rotate a root, the old and the new one stand side by
 * side, and nothing that is open is touched. Throws `invalid` with every fault of the domain and of all roots at once,
 * `stale` where `expected` is not the revision any more.
 */
export async function federate(centre: Centre, caller: Caller, asked: FederationAsked): Promise<Federated> {
  const done = await changeTrust(centre, async ({ tx, now }): Promise<Federated & { readonly changed: boolean }> => {
    const { mesh } = centre
    const { old, bundle } = await judged(tx, mesh, asked, now)
    const roots = bundle.pems.join('')
    const state = { roots, sequence: bundle.sequence ?? null, refreshSeconds: bundle.refreshSeconds ?? null }
    if (old && isSame(old, state)) return { row: old, created: false, changed: false }
    const { trustDomain } = asked
    const row = old
      ? await updateForeignDomain(tx, old, { ...state, updatedAt: now })
      : { mesh, trustDomain, ...state, source: 'file' as const, revision: 1, createdAt: now, updatedAt: now }
    if (!row) throw new LostRace(`trust domain ${trustDomain} moved on`)
    if (!old) await insertForeignDomain(tx, row)
    const standing = (await loadStanding(tx, mesh)).filter((one) => one.kind === 'foreign')
    for (const one of standing) if (one.subject === trustDomain) await undoRevocationRow(tx, one, now)
    const detail = { roots: bundle.pems.length, sequence: state.sequence, refreshSeconds: state.refreshSeconds }
    const object = objectOf(trustDomain)
    await audited(centre, tx, caller, { action: 'trust.federate', object, detail })
    await askPublish(centre, tx, { cause: `${object} federated`, author: callerText(caller) })
    return { row, created: !old, changed: true }
  })
  if (done.changed) centre.bus.announce({ kind: 'outbox' })
  return done
}

/** What `federate` would make of it, without changing anything. Throws the same. */
export async function rehearseFederation(centre: Centre, asked: FederationAsked): Promise<Federated> {
  const now = centre.now()
  const { old, bundle } = await centre.db.read((tx) => judged(tx, centre.mesh, asked, now))
  const state = { roots: bundle.pems.join(''), sequence: bundle.sequence ?? null }
  const before = { mesh: centre.mesh, trustDomain: asked.trustDomain, source: 'file' as const, createdAt: now }
  const next = { ...state, refreshSeconds: bundle.refreshSeconds ?? null, updatedAt: now }
  return { row: { ...before, revision: 0, ...old, ...next }, created: !old }
}

const isSame = (
  row: ForeignDomainRow,
  next: Pick<ForeignDomainRow, 'roots' | 'sequence' | 'refreshSeconds'>,
): boolean => row.roots === next.roots && row.sequence === next.sequence && row.refreshSeconds === next.refreshSeconds

async function judged(
  tx: Tx,
  mesh: MeshName,
  { trustDomain, bundle: text, expected }: FederationAsked,
  now: number,
): Promise<{ readonly old: ForeignDomainRow | undefined; readonly bundle: ForeignBundle }> {
  const fault = domainFault(mesh, trustDomain)
  if (fault !== undefined) throw refused(trustDomain, [{ path: 'trustDomain', reason: fault }])
  const rows = await loadForeignDomains(tx, mesh)
  const old = rows.find((row) => row.trustDomain === trustDomain)
  checkRevision(trustDomain, expected, old)
  const expectations = {
    ...{ now: new Date(now), trustDomain: trustDomain as TrustDomain },
    known: await loadKnownAuthorities(tx, mesh, { withRevoked: true, without: trustDomain }),
  }
  const violations = (await ownerFaults(tx, mesh, trustDomain)).map((reason) => ({ path: 'trustDomain', reason }))
  const read = readOr(text, expectations, violations)
  violations.push(...read.violations, ...sequenceFaults(read, old))
  if (violations.length > 0) throw refused(trustDomain, violations)
  if (!old && rows.length >= bundleLimits.foreign)
    throw new Problem(
      'conflict',
      `${rows.length} foreign trust domains are the most that a mesh takes: take one back first with ` +
        'isthmus trust unfederate',
    )
  return { old, bundle: read }
}

/** What cannot be read at all is one fault beside those of the domain. */
function readOr(
  text: string,
  expectations: Parameters<typeof readForeignBundle>[1],
  others: readonly Violation[],
): ForeignBundle {
  try {
    return readForeignBundle(text, expectations)
  } catch (error) {
    if (!(error instanceof Problem) || others.length === 0) throw error
    return { certificates: [], pems: [], violations: error.violations }
  }
}

/** As long as the column that it is kept in. */
const domainLengthMax = 127

function domainFault(mesh: MeshName, trustDomain: string): string | undefined {
  const fault = trustDomainFault(trustDomain)
  if (fault !== undefined) return fault
  if (trustDomain.length > domainLengthMax)
    return `has ${trustDomain.length} characters; at most ${domainLengthMax} for one of another mesh`
  if (trustDomain === mesh || trustDomain.endsWith(`.${mesh}`))
    return `ends in ".${mesh}", as those of this mesh do: a cluster may be given it any day`
  return undefined
}

/** Those of this mesh that do not end in its name, and those of before. */
async function ownerFaults(tx: Tx, mesh: MeshName, trustDomain: string): Promise<string[]> {
  const shared = (await loadMesh(tx, mesh))?.sharedDomain
  if (shared === trustDomain) return ['is the trust domain that the clusters of this mesh share']
  for (let after = ''; ; ) {
    const page = await loadClusters(tx, mesh, after, 500)
    const own = page.find((row) => row.trustDomain === trustDomain)
    if (own) return [`is the trust domain of cluster "${own.name}" of this mesh`]
    const last = page.at(-1)
    if (page.length < 500 || !last) return []
    after = last.name
  }
}

export const foreignRoots = ({ roots }: ForeignDomainRow): readonly Certificate[] =>
  parseCertificates(roots, 'roots', bundleLimits.rootsEach)

/** Whoever can show an old bundle of theirs could bring back a root that they have dropped. */
function sequenceFaults({ sequence, pems }: ForeignBundle, old: ForeignDomainRow | undefined): Violation[] {
  if (sequence === undefined || !old || old.sequence === null) return []
  const path = 'spiffe_sequence'
  const mend = 'ask for their newest bundle, or give their roots as PEM where they did begin anew'
  if (sequence < old.sequence)
    return [{ path, reason: `is ${sequence}, and ${old.sequence} is in force: it is an older one; ${mend}` }]
  return sequence === old.sequence && pems.join('') !== old.roots
    ? [{ path, reason: `is ${sequence}, as of what is in force, and the roots are others; ${mend}` }]
    : []
}

const objectOf = (trustDomain: string): string => `foreign trust domain ${trustDomain}`

function refused(trustDomain: string, violations: readonly Violation[]): Problem {
  const [first, ...more] = violations
  const rest = more.length === 0 ? '' : ` (and ${more.length} more)`
  const what = `trust domain "${trustDomain.slice(0, 80)}" cannot be federated`
  return new Problem('invalid', `${what}: ${first?.path} ${first?.reason}${rest}`, { violations })
}

function checkRevision(trustDomain: string, expected: number | undefined, old: ForeignDomainRow | undefined): void {
  const revision = old?.revision ?? 0
  if (expected === undefined || expected === revision) return
  const extra = { revision }
  throw new Problem('stale', `${objectOf(trustDomain)} is at revision ${revision} now: read it again`, { extra })
}

export type PartingAsked = Pick<FederationAsked, 'trustDomain' | 'expected'> & { readonly reason: string }

/**
 * Takes another mesh out again: nobody of it is admitted anywhere once relays have heard, and what it has open ends as
 * with a revocation, by whose number this goes on. Gives that; undefined where the domain was not there. Throws `stale`.
 */
export async function unfederate(
  centre: Centre,
  caller: Caller,
  { trustDomain, reason, expected }: PartingAsked,
): Promise<RevocationRow | undefined> {
  const { mesh } = centre
  const gone = await changeTrust(centre, async ({ tx, now }) => {
    const old = await loadForeignDomain(tx, mesh, trustDomain)
    checkRevision(trustDomain, expected, old)
    if (!old) return undefined
    const exports = await placesOpenTo(tx, mesh, trustDomain)
    const cut = await nextCut(tx, mesh)
    const by = callerText(caller)
    await insertRevocation(tx, {
      ...{ mesh, cut, kind: 'foreign', subject: trustDomain, cluster: '', trustDomain },
      ...{ exports: canonicalJson(exports), reason, by, at: now, undoneAt: null, revision: 1 },
    })
    if (!(await deleteForeignDomain(tx, old))) throw new LostRace(`trust domain ${trustDomain} moved on`)
    const object = objectOf(trustDomain)
    await audited(centre, tx, caller, { action: 'trust.unfederate', object, detail: { cut, reason } })
    await askPublish(centre, tx, { cause: `${object} taken out`, author: by })
    return loadRevocation(tx, mesh, cut)
  })
  if (gone) centre.bus.announce({ kind: 'outbox' })
  return gone
}

/** A foreign trust domain as people are shown it. */
export type ShownForeign = {
  readonly row: ForeignDomainRow
  readonly roots: readonly Certificate[]
  /** `<cluster>/<namespace>/<service>`: the exports that admit it, sorted. */
  readonly admittedBy: readonly string[]
}

export async function showForeign(tx: Tx, mesh: MeshName): Promise<ShownForeign[]> {
  const rows = await loadForeignDomains(tx, mesh)
  if (rows.length === 0) return []
  const offers = [...marketOf(await loadFleet(tx, mesh, new Map())).services.values()].flat()
  return rows.map((row) => ({
    row,
    roots: foreignRoots(row),
    admittedBy: offers
      .filter(({ foreign }) => foreign.some((one) => one === row.trustDomain))
      .map(({ member, export: offered }) => `${member.name}/${offered.key}`)
      .toSorted(),
  }))
}
