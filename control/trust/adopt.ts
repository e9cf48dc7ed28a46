import { centreCaller } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { openSigner } from '#control/keys/open-signer.ts'
import { newId } from '#control/new-id.ts'
import {
  type AuthorityRow,
  insertAuthority,
  loadAuthorities,
  moveAuthority,
  trustedBy,
} from '#control/store/authorities.ts'
import { insertLink } from '#control/store/bundle-links.ts'
import { loadClusterByName, updateCluster } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import {
  deleteForeignDomain,
  insertForeignDomain,
  loadForeignDomains,
  updateForeignDomain,
} from '#control/store/foreign-domains.ts'
import { insertRevocation, loadRevocations } from '#control/store/revocations.ts'
import { loadOpenRotations, type RotationRow, updateRotation } from '#control/store/rotations.ts'
import { lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { changeOf } from '#control/stream-change.ts'
import { changeTrust, loadBundle, writeTrustStream } from '#control/trust/bundle.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { nextGeneration } from '#control/trust/revoke.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { type BundleLink, type BundleRoot, digestOf, signedText, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { fingerprintOf } from '#mesh/trust/authority-digest.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { linksKept } from '#mesh/trust/check-bundle.ts'
import { isSignedBy } from '#mesh/trust/public-key.ts'

/** What a relay holds and the centre does not know any more: said by the centre itself, later than all it has stored. */
type Proof = { readonly cluster: string; readonly bundle: TrustBundle; readonly link: BundleLink }

/** What of a proof could not be taken up, for people. */
export type Adopted = { readonly seq: number; readonly from: string; readonly missingKeys: readonly string[] }

/**
 * A store that was restored from a backup is behind what it once said: relays refuse its bundle, and show the later one
 * that they hold. Its signature is the centre's own, so it is taken up as it is: the states of authorities, what was
 * revoked, and the number that comes next; nothing older is ever given out again. An authority that was made after the
 * backup is known again where its sealed key is still beside the others. Gives what was done; undefined where no relay
 * is ahead.
 */
export async function adoptProof(centre: Centre): Promise<Adopted | undefined> {
  const { own, members, authorities } = await centre.db.read(async (tx) => ({
    own: await loadBundle(tx, centre.mesh),
    members: await loadRelayTrust(tx, centre.mesh, centre.now()),
    authorities: await loadAuthorities(tx, centre.mesh),
  }))
  const proofs = members.flatMap(({ cluster, said }): Proof[] =>
    said?.fault?.reason === 'RolledBack' && said.proof ? [{ cluster, ...said.proof }] : [],
  )
  const later = proofs
    .filter(({ bundle }) => bundle.seq > (own?.link.seq ?? 0))
    .toSorted((a, b) => b.bundle.seq - a.bundle.seq)
  const best = await firstOfOurs(centre, later, authorities)
  if (!best) return undefined
  const { unknown } = best
  const delta = await centre.db.transact(async (tx) => {
    const head = await lockTrustHead(tx, centre.mesh, 'bundle')
    if (head.seq >= best.bundle.seq) return undefined
    for (const row of unknown.found) await insertAuthority(tx, row)
    await takeStates(tx, centre, best.bundle)
    await takeRevoked(tx, centre, best)
    await takeForeign(tx, centre, best.bundle)
    await takeRotations(tx, centre)
    const { bundle, link } = best
    await insertLink(tx, {
      ...{ mesh: centre.mesh, seq: bundle.seq },
      ...{ bundle: canonicalJson(bundle as unknown as Json), link: canonicalJson({ ...link }) },
    })
    await moveTrustHead(tx, { ...head, seq: bundle.seq, hash: link.digest })
    await audited(centre, tx, centreCaller, {
      ...{ action: 'trust.adopted', object: `trust bundle ${bundle.seq}` },
      detail: { from: best.cluster, instead: head.seq, missingKeys: [...unknown.missing] },
    })
    await askPublish(centre, tx, { cause: `trust bundle ${bundle.seq} taken up again`, author: centreCaller })
    return writeTrustStream(centre, tx)
  })
  if (!delta) return undefined
  centre.bus.announce({ kind: 'streams', changes: [changeOf(delta)], urgent: true })
  centre.bus.announce({ kind: 'outbox' })
  centre.log.warn(
    { seq: best.bundle.seq, from: best.cluster, missingKeys: unknown.missing },
    'the store is older than what this centre has said: its later trust was taken up from a relay',
  )
  // The links between are lost. A chain is followed over a gap that lies further back than this many, so relays that were
  // behind, and those that join, find their way once there are so many.
  for (let n = 0; n < linksKept; n++) await changeTrust(centre, async () => undefined, 'always')
  return { seq: best.bundle.seq, from: best.cluster, missingKeys: unknown.missing }
}

/** The first that this centre has signed: by a control-plane CA that the store knows, or whose key lies beside its others. */
async function firstOfOurs(
  centre: Centre,
  proofs: readonly Proof[],
  authorities: readonly AuthorityRow[],
): Promise<(Proof & { readonly unknown: Unknown }) | undefined> {
  for (const proof of proofs.slice(0, triedMax)) {
    const unknown = await unknownKeys(centre, proof.bundle, authorities)
    if (isOurs(centre.mesh, proof, [...authorities, ...unknown.found])) return { ...proof, unknown }
  }
  return undefined
}

/**
 * A link of ours: signed by one of these control-plane CAs. Content proves nothing, and neither does one whose key was
 * rotated out: whoever had stolen it would have the mesh again.
 */
function isOurs(mesh: MeshName, { bundle, link }: Proof, authorities: readonly AuthorityRow[]): boolean {
  if (bundle.mesh !== mesh || link.seq !== bundle.seq || link.digest !== digestOf(bundle)) return false
  const signers = authorities
    .filter(({ kind, state }) => kind === 'control-plane' && state !== 'revoked')
    .map((row) => parseCertificate(row.certificate))
  const by = signers.find((one) => fingerprintOf(one) === link.signer)
  if (!by) return false
  const algorithm = by.publicKey.kind === 'P-384' ? 'ecdsa-sha384' : 'ecdsa-sha256'
  const signature = Buffer.from(link.signature, 'base64')
  return isSignedBy(by.publicKey.key, algorithm, { data: Buffer.from(signedText(mesh, link)), signature })
}

type Unknown = { readonly found: readonly AuthorityRow[]; readonly missing: readonly string[] }

/** Authorities that the bundle trusts and the store does not know: with the keys beside the others, where they are there. */
async function unknownKeys(centre: Centre, bundle: TrustBundle, rows: readonly AuthorityRow[]): Promise<Unknown> {
  const known = new Set(rows.flatMap((row) => [row.certificate, ...trustedBy(row)]))
  const found: AuthorityRow[] = []
  const missing: string[] = []
  for (const [kind, list] of [
    ['root', bundle.roots],
    ['control-plane', bundle.controlPlane],
  ] as const)
    for (const one of list) {
      if (known.has(one.pem)) continue
      const row = await rowFor(centre, kind, one, { rows: [...rows, ...found] })
      if (row) found.push(row)
      else missing.push(`${kind} ${fingerprintOf(parseCertificate(one.pem)).slice(0, 12)}`)
    }
  return { found, missing }
}

/** Keys are numbered: the next few after those known are tried. */
const triedMax = 8

async function rowFor(
  centre: Centre,
  kind: AuthorityRow['kind'],
  { pem, state }: BundleRoot,
  { rows }: { readonly rows: readonly AuthorityRow[] },
): Promise<AuthorityRow | undefined> {
  const { spki } = parseCertificate(pem).publicKey
  const last = Math.max(0, ...rows.filter((row) => row.kind === kind).map((row) => row.number ?? 1))
  const now = centre.now()
  for (let number = last + 1; number <= last + triedMax; number++) {
    for (const prefix of ['', 'plugged-']) {
      const keyRef = `file:${prefix}${kind}-${number}.key`
      const signer = await openSigner(keyRef, centre.keys.ring).catch(() => undefined)
      if (!signer || !Buffer.from(await signer.publicKeySpki()).equals(spki)) continue
      return {
        ...{ mesh: centre.mesh, id: newId(now), kind, state, certificate: pem, keyRef, createdAt: now, stateAt: now },
        ...{ number, chain: null, trusted: prefix === '' ? null : pem, revision: 1 },
      }
    }
  }
  return undefined
}

/** What the bundle does not name is trusted no more, but for what was never in one. */
async function takeStates(tx: Tx, centre: Centre, bundle: TrustBundle): Promise<void> {
  const states = new Map([...bundle.roots, ...bundle.controlPlane].map(({ pem, state }) => [pem, state]))
  for (const row of await loadAuthorities(tx, centre.mesh)) {
    const [pem = ''] = trustedBy(row)
    const state = states.get(pem) ?? (row.state === 'prepared' ? 'prepared' : 'revoked')
    if (state !== row.state) await moveAuthority(tx, row, state, centre.now())
  }
}

async function takeRevoked(tx: Tx, centre: Centre, { bundle, cluster: from }: Proof): Promise<void> {
  const { mesh } = centre
  const known = new Set((await loadRevocations(tx, mesh)).map(({ cut }) => cut))
  const reason = `taken up from the relay of ${from} after the store was restored`
  const shared = { mesh, exports: '[]', reason, by: centreCaller, undoneAt: null, revision: 1 }
  for (const { trustDomain, cluster, cut, at, issuer = false } of bundle.revoked) {
    const row = await loadClusterByName(tx, mesh, cluster)
    // What was revoked is the centre's own signed word: a relay that says otherwise may be the one that was shut out.
    const goesOn = row && issuer ? nextGeneration(mesh, row) : undefined
    if (row?.trustDomain === trustDomain)
      await updateCluster(tx, row, goesOn ?? { state: row.state === 'left' ? 'left' : 'revoked' })
    const kind = issuer ? 'issuer' : 'cluster'
    if (!known.has(cut))
      await insertRevocation(tx, { ...shared, cut, kind, subject: cluster, cluster, trustDomain, at })
  }
  for (const { id, cut } of bundle.denied)
    if (!known.has(cut)) {
      const trustDomain = id.slice('spiffe://'.length).split('/')[0] ?? ''
      const cluster = trustDomain.split('.')[0] ?? ''
      await insertRevocation(tx, { ...shared, cut, kind: 'workload', subject: id, cluster, trustDomain, at: bundle.at })
    }
  const unfederated = bundle.unfederated ?? []
  for (const { trustDomain, cut, at } of unfederated)
    if (!known.has(cut))
      await insertRevocation(tx, {
        ...shared,
        cut,
        kind: 'foreign',
        subject: trustDomain,
        cluster: '',
        trustDomain,
        at,
      })
  const cuts = await lockTrustHead(tx, mesh, 'cuts')
  const seq = Math.max(cuts.seq, ...[...bundle.revoked, ...bundle.denied, ...unfederated].map(({ cut }) => cut))
  if (seq > cuts.seq) await moveTrustHead(tx, { ...cuts, seq })
}

/** Other meshes as the bundle has them; the number of theirs is not in it, and begins anew. */
async function takeForeign(tx: Tx, { mesh, now }: Centre, bundle: TrustBundle): Promise<void> {
  const said = new Map<string, string>(bundle.foreign.map((one) => [one.trustDomain, one.roots.map(withEnd).join('')]))
  const at = now()
  for (const row of await loadForeignDomains(tx, mesh)) {
    const roots = said.get(row.trustDomain)
    said.delete(row.trustDomain)
    const change = { roots: roots ?? '', sequence: null, refreshSeconds: row.refreshSeconds, updatedAt: at }
    if (roots === undefined) await deleteForeignDomain(tx, row)
    else if (roots !== row.roots) await updateForeignDomain(tx, row, change)
  }
  for (const [trustDomain, roots] of said) {
    const facts = { source: 'file' as const, revision: 1, createdAt: at, updatedAt: at }
    await insertForeignDomain(tx, { mesh, trustDomain, roots, ...facts, sequence: null, refreshSeconds: null })
  }
}

const withEnd = (pem: string): string => (pem.endsWith('\n') ? pem : `${pem}\n`)

/** A rotation that ran at the time of the backup stands where its authorities do. */
async function takeRotations(tx: Tx, centre: Centre): Promise<void> {
  const now = centre.now()
  const states = new Map((await loadAuthorities(tx, centre.mesh)).map((row) => [row.id, row.state]))
  for (const row of await loadOpenRotations(tx, centre.mesh)) {
    if (row.kind === 'issuing') continue
    const step = stepFrom(states.get(row.fromId), states.get(row.toId))
    const ends = step === 'aborted' ? { slot: row.id } : {}
    if (step !== row.step) await updateRotation(tx, row, { step, stepAt: now, ...ends })
  }
}

function stepFrom(from: AuthorityRow['state'] | undefined, to: AuthorityRow['state'] | undefined): RotationRow['step'] {
  if (to === 'active') return from === 'revoked' ? 'revoked' : 'active'
  return to === 'prepared' || to === 'published' ? to : 'aborted'
}
