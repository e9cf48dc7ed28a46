import { centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { type AuthorityRow, loadAuthorities, loadTrustedRoots, trustedBy } from '#control/store/authorities.ts'
import { dropLinks, insertLink, loadLastLink, loadLinks } from '#control/store/bundle-links.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import { loadStanding, type RevocationRow } from '#control/store/revocations.ts'
import { appendWhole, lockStream } from '#control/store/stream-writes.ts'
import { lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { changeOf } from '#control/stream-change.ts'
import { canonicalJson, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import { type MeshName, parseClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type BundleLink, type BundleRoot, bundleLimits, digestOf, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { fingerprintOf } from '#mesh/trust/authority-digest.ts'
import { certificatePem, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { keptLinks } from '#mesh/trust/check-bundle.ts'
import { signLink } from '#mesh/trust/sign-link.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { bundleKeys } from '#mesh/wire/bundle.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { trustStream } from '#mesh/wire/stream.ts'

/** The bundle in force and the link that says so; undefined before the first. */
export type InForce = { readonly bundle: TrustBundle; readonly link: BundleLink }

export async function loadBundle(tx: Tx, mesh: MeshName): Promise<InForce | undefined> {
  const row = await loadLastLink(tx, mesh)
  if (!row) return undefined
  return { bundle: JSON.parse(row.bundle) as TrustBundle, link: JSON.parse(row.link) as BundleLink }
}

/** What a change is told of the moment it happens in: the number of the bundle that follows from it, and the time. */
export type TrustMoment = { readonly tx: Tx; readonly seq: number; readonly now: number }

const triesMax = 5

/**
 * Does `work` and signs the bundle that follows from it, all in one transaction: whatever was changed about authorities,
 * revocations or foreign domains is in force, delivered and part of the chain when this resolves, or nothing is. Where
 * the bundle stays as it was, there is no new link. `sign`: a link although nothing changed.
 *
 * No key is used inside a transaction: `work` is rehearsed first and rolled back, the link over what would come of it is
 * signed by the control-plane CA that was active before, and then it is done, if it still comes to the same. So it may run
 * more than once, and has no effects but on the transaction. Throws what `work` and the signer throw, `conflict` for a
 * bundle past its limits, and `unavailable` where others changed trust again and again meanwhile.
 */
export async function changeTrust<T>(
  centre: Centre,
  work: (moment: TrustMoment) => Promise<T>,
  sign: 'changes' | 'always' = 'changes',
): Promise<T> {
  const now = centre.now()
  for (let tries = 1; ; tries++) {
    const draft = await rehearse(centre, { work, now, sign })
    const link = draft.after && (await signed(centre, draft.before, draft.after, draft.signer))
    try {
      const { result, delta } = await centre.db.transact(async (tx) => {
        const { result, before, after, signer } = await perform(centre, tx, { work, now, sign })
        if (!isSame(after, draft.after) || signer?.id !== draft.signer?.id) throw new Moved()
        if (after && link) await append(centre, tx, { before, after, link })
        return { result, delta: await writeTrustStream(centre, tx) }
      })
      if (delta) centre.bus.announce({ kind: 'streams', changes: [changeOf(delta)], urgent: true })
      return result
    } catch (error) {
      if (!(error instanceof Moved)) throw error
      if (tries === triesMax)
        throw new Problem('unavailable', 'trust is changed by somebody else at this moment: try again')
    }
  }
}

/** A bundle is there from the first start on; a centre of before there were any makes its first. */
export async function ensureBundle(centre: Centre): Promise<void> {
  if (!(await centre.db.read((tx) => loadLastLink(tx, centre.mesh)))) await changeTrust(centre, async () => undefined)
}

/**
 * The newest link is always signed by the control-plane CA that is active: a relay that joins believes that one alone, and
 * finds its way into the chain by a link of it. The one that puts a new one to use was signed by the old.
 */
export async function ensureCountersigned(centre: Centre): Promise<void> {
  const { inForce, active } = await centre.db.read(async (tx) => ({
    inForce: await loadBundle(tx, centre.mesh),
    active: (await loadAuthorities(tx, centre.mesh)).find((r) => r.kind === 'control-plane' && r.state === 'active'),
  }))
  if (!active || inForce?.link.signer === fingerprintOf(parseCertificate(active.certificate))) return
  await changeTrust(centre, async () => undefined, 'always')
}

/** PEM of the control-plane CAs that vouch for the centre and its relays now, those on their way out too. */
export async function controlPlanePems(centre: Centre): Promise<readonly string[]> {
  const inForce = await centre.db.read((tx) => loadBundle(tx, centre.mesh))
  return inForce?.bundle.controlPlane.map(({ pem }) => pem) ?? []
}

type Change<T> = {
  readonly work: (moment: TrustMoment) => Promise<T>
  readonly now: number
  readonly sign: 'changes' | 'always'
}
type Performed<T> = {
  readonly result: T
  readonly before: TrustBundle | undefined
  /** Absent: nothing changed. */
  readonly after: TrustBundle | undefined
  readonly signer: AuthorityRow | undefined
}

/** Thrown where the bundle came out otherwise than it was signed. */
class Moved extends Error {}

class Rehearsed<T> extends Error {
  readonly performed: Performed<T>
  constructor(performed: Performed<T>) {
    super('rehearsed')
    this.performed = performed
  }
}

async function rehearse<T>(centre: Centre, change: Change<T>): Promise<Performed<T>> {
  try {
    return await centre.db.transact(async (tx) => {
      throw new Rehearsed(await perform(centre, tx, change))
    })
  } catch (error) {
    if (error instanceof Rehearsed) return error.performed as Performed<T>
    throw error
  }
}

async function perform<T>(centre: Centre, tx: Tx, { work, now, sign }: Change<T>): Promise<Performed<T>> {
  const head = await lockTrustHead(tx, centre.mesh, 'bundle')
  const before = (await loadBundle(tx, centre.mesh))?.bundle
  const active = (await loadAuthorities(tx, centre.mesh)).find(
    (r) => r.kind === 'control-plane' && r.state === 'active',
  )
  const result = await work({ tx, seq: head.seq + 1, now })
  const content = await contentOf(tx, centre.mesh, now)
  const seen = before && { ...content, seq: before.seq, at: before.at }
  const stays = before !== undefined && seen !== undefined && digestOf(seen) === digestOf(before)
  const after = stays && sign === 'changes' ? undefined : { ...content, seq: head.seq + 1, at: now }
  if (after) checkLimits(after)
  return { result, before, after, signer: active }
}

const isSame = (a: TrustBundle | undefined, b: TrustBundle | undefined): boolean =>
  a === undefined || b === undefined ? a === b : digestOf(a) === digestOf(b)

async function signed(
  centre: Centre,
  before: TrustBundle | undefined,
  after: TrustBundle,
  row: AuthorityRow | undefined,
): Promise<BundleLink> {
  if (!row) throw new Problem('conflict', 'the database holds no active control-plane authority')
  const certificate = parseCertificate(row.certificate, 'control-plane certificate')
  return signLink(before, after, { certificate, signer: await centre.keys.signerOf(row) })
}

/** For as long as a certificate can live that was made under an issuing CA at its last hour, and more. */
const revokedMsMax = 45 * 24 * 60 * 60_000

/** Everything that a bundle says but its number and time, as the store has it. In order of age, so that equal is equal. */
async function contentOf(tx: Tx, mesh: MeshName, now: number): Promise<Omit<TrustBundle, 'seq' | 'at'>> {
  const authorities = await loadAuthorities(tx, mesh)
  const standing = (await loadStanding(tx, mesh)).toReversed()
  return {
    mesh,
    roots: rootsFrom(authorities.filter((row) => row.kind === 'root')),
    controlPlane: rootsFrom(authorities.filter((row) => row.kind === 'control-plane')),
    revoked: standing
      .filter((row) => (row.kind === 'cluster' || row.kind === 'issuer') && now - row.at < revokedMsMax)
      .map((row) => ({
        trustDomain: parseTrustDomain(row.trustDomain),
        cluster: parseClusterName(row.cluster),
        ...{ cut: row.cut, at: row.at, ...(row.kind === 'issuer' ? { issuer: true as const } : {}) },
      })),
    denied: standing.filter((row) => row.kind === 'workload').map(({ subject, cut }) => ({ id: subject, cut })),
    foreign: (await loadForeignDomains(tx, mesh)).map((row) => ({
      trustDomain: parseTrustDomain(row.trustDomain),
      roots: parseCertificates(row.roots, 'roots', bundleLimits.rootsEach).map(certificatePem),
    })),
    ...unfederatedFrom(standing.filter((row) => row.kind === 'foreign' && now - row.at < revokedMsMax)),
  }
}

/** Not there where there is none: what was signed before there were any stays what it was. */
function unfederatedFrom(rows: readonly RevocationRow[]): Pick<TrustBundle, 'unfederated'> {
  if (rows.length === 0) return {}
  return {
    unfederated: rows.map(({ trustDomain, cut, at }) => ({ trustDomain: parseTrustDomain(trustDomain), cut, at })),
  }
}

/** Where two authorities stand below one root of the user's, it is there once, in the better state. */
function rootsFrom(rows: readonly AuthorityRow[]): BundleRoot[] {
  const states = new Map<string, BundleRoot['state']>()
  for (const row of rows)
    if (row.state === 'published' || row.state === 'active' || row.state === 'tainted')
      for (const pem of trustedBy(row)) {
        const known = states.get(pem)
        states.set(pem, known === 'active' || row.state === 'active' ? 'active' : (known ?? row.state))
      }
  return [...states].map(([pem, state]) => ({ pem, state }))
}

/** What no relay would take is refused here, before it is signed. */
function checkLimits(bundle: TrustBundle): void {
  for (const part of ['roots', 'controlPlane', 'revoked', 'denied', 'foreign', 'unfederated'] as const)
    if ((bundle[part]?.length ?? 0) > bundleLimits[part])
      throw new Problem(
        'conflict',
        `the trust bundle would hold ${bundle[part]?.length} of ${part}, and takes ${bundleLimits[part]}: take one back first`,
      )
  const bytes = Buffer.byteLength(canonicalJson(bundle as unknown as Json))
  if (bytes > bundleLimits.bytes)
    throw new Problem('conflict', `the trust bundle would have ${bytes} bytes, and takes ${bundleLimits.bytes}`)
}

/** Links that change the control-plane CAs stay, but not for ever: a relay that was away longer joins anew. */
const changingLinksMax = 128

async function append(
  centre: Centre,
  tx: Tx,
  { after, link }: { readonly before: TrustBundle | undefined; readonly after: TrustBundle; readonly link: BundleLink },
): Promise<void> {
  const { mesh } = centre
  const body = canonicalJson(after as unknown as Json)
  await insertLink(tx, { mesh, seq: after.seq, bundle: body, link: canonicalJson({ ...link }) })
  await moveTrustHead(tx, { mesh, name: 'bundle', seq: after.seq, hash: link.digest })
  const rows = (await loadLinks(tx, mesh)).map((row) => JSON.parse(row.link) as BundleLink)
  const stay = keptLinks(rows)
  const old = stay.filter(({ seq, controlPlane }) => controlPlane && seq <= after.seq - 64).slice(0, -changingLinksMax)
  const kept = new Set(stay.filter((one) => !old.includes(one)).map(({ seq }) => seq))
  await dropLinks(
    tx,
    mesh,
    rows.flatMap(({ seq }) => (kept.has(seq) ? [] : [seq])),
  )
  const detail = { seq: after.seq, digest: link.digest, signer: link.signer }
  await audited(centre, tx, centreCaller, { action: 'bundle.change', object: `trust bundle ${after.seq}`, detail })
}

/**
 * The stream that relays read trust from: the bundle with its links and, for relays of before there was one, `root/<digest>`
 * for each root to accept and `member/<cluster>` with its trust domain. What differs is written; undefined where nothing does.
 */
export async function writeTrustStream(centre: Centre, tx: Tx): Promise<StreamDelta | undefined> {
  const { mesh } = centre
  const ref = { mesh, stream: trustStream(mesh) }
  await lockStream(tx, ref, centre.now())
  const entries = new Map<string, Json>()
  for (const pem of await loadTrustedRoots(tx, mesh)) entries.set(`root/${sha256Hex(pem).slice(0, 16)}`, { pem })
  for (const { name, trustDomain } of await loadMembers(tx, mesh)) entries.set(`member/${name}`, { trustDomain })
  for (const row of await loadLinks(tx, mesh)) {
    entries.set(bundleKeys.link(row.seq), JSON.parse(row.link) as Json)
    if (row.bundle !== '') entries.set(bundleKeys.bundle, JSON.parse(row.bundle) as Json)
  }
  return appendWhole(tx, ref, entries, centre.now())
}
