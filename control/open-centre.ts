import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { centreCaller } from '#control/caller.ts'
import { askPublish, audited, type Centre, type CentreKeys } from '#control/centre.ts'
import { centreSecret, firstAdminKey, passphraseOf } from '#control/first-files.ts'
import { checkLaterStart, type FirstSettings, parseSharedDomain } from '#control/first-settings.ts'
import type { KeyRing } from '#control/keys/open-signer.ts'
import type { PassphraseSource } from '#control/keys/passphrase.ts'
import { createSealedKey, fileSigner } from '#control/keys/sealed-file.ts'
import { newId } from '#control/new-id.ts'
import { insertAuthority, loadAuthorities } from '#control/store/authorities.ts'
import type { Database, Tx } from '#control/store/database.ts'
import { makeDirectory } from '#control/store/make-directory.ts'
import { loadMesh, saveMesh } from '#control/store/meshes.ts'
import { loadOperatorKeys, saveOperatorKey } from '#control/store/operator-keys.ts'
import { authorityKeys } from '#control/trust/authority-keys.ts'
import { ensureBundle } from '#control/trust/bundle.ts'
import { appendIssuance, authorityIssued } from '#control/trust/issuances.ts'
import { makeAuthority } from '#control/trust/make-authority.ts'
import { isTaken } from '#control/trust/plugged-authority.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Signer } from '#mesh/trust/signer.ts'
import { centreOrigin, centreUrlFault } from '#mesh/wire/centre-url.ts'

export type OpenSettings = Pick<Centre, 'db' | 'now' | 'random' | 'bus' | 'log' | 'measures' | 'reservedIps'> &
  FirstSettings & {
    readonly mesh: string
    readonly url: string
    /** Directory of the sealed keys; theirs alone, 0700. */
    readonly keysDir: string
    /** Absent: a passphrase is made once, in a 0600 file beside the keys. */
    readonly passphrase?: PassphraseSource | undefined
    readonly env: Readonly<Record<string, string | undefined>>
    /** Where the first administrator's key is written, once, 0600. */
    readonly adminKeyFile: string
    /** SHA-256 (hex) of a first administrator's key that was made elsewhere: then no file is written. */
    readonly adminKeyHash?: string | undefined
    /** Directory of a CA that is brought along: the root at the first start; later `rotate-root --where plugged` takes it. */
    readonly rootCa?: string | undefined
    /** For tests: cheaper sealing. */
    readonly scryptCost?: number
  }

/**
 * The centre, ready to work: at its first start the mesh, its root, the control-plane CA and the first administrator's
 * key are made; later starts find them. Killed at any moment, the next start goes on: files are written before the rows
 * that speak of them, and a file without its row is taken up again.
 *
 * Throws `invalid` for a bad name or URL, `conflict` where keys and database do not belong together, and what
 * `fileSigner` throws.
 */
export async function openCentre(settings: OpenSettings): Promise<Centre> {
  const mesh = parseMeshName(settings.mesh)
  const url = parseCentreUrl(settings.url)
  makeDirectory(settings.keysDir)
  const ring = ringOf(settings)
  const { db, now, random, bus, log, measures, reservedIps } = settings
  const token = await signerAt(join(ring.dir, 'token.key'), ring)
  const made = await firstStart(settings, mesh, ring)
  if (!made) await checkSettings(settings, mesh)
  const keys: CentreKeys = {
    ...authorityKeys({ db, mesh }, ring),
    token: await tokenKey(token),
    secret: centreSecret(settings.keysDir, settings.random),
    ring,
  }
  // Keys that do not belong to this database are told now, not when the first relay asks.
  for (const kind of ['root', 'control-plane'] as const)
    await keys.active(kind).catch((cause) => goOnWithout(settings, kind, cause))
  const instance = newId(now())
  const centre: Centre = { db, instance, now, random, bus, log, measures, reservedIps, mesh, url, keys }
  if (made) await centre.db.transact((tx) => tellFirstStart(centre, tx))
  await ensureBundle(centre)
  await ensureAdmin(centre, settings)
  return centre
}

/** `https://host[:port]`, without trailing slash. Throws `invalid` that says what is wrong, never with a password. */
export function parseCentreUrl(text: string): string {
  const fault = centreUrlFault(text)
  if (fault === undefined) return centreOrigin(text)
  const shown = text.includes('@') ? '' : ` "${text.toWellFormed().slice(0, 200)}"`
  throw new Problem('invalid', `--url${shown} must be https://<host>[:<port>], as relays dial it: ${fault}`)
}

/** A passphrase that we made holds 256 random bits: stretching it adds nothing but seconds to each start. */
const randomPassphraseCost = 2 ** 14

function ringOf(settings: OpenSettings): KeyRing {
  const { keysDir: dir, random, log, measures, rootCa } = settings
  const passphrase = passphraseOf(settings)
  const scryptCost = settings.scryptCost ?? (settings.passphrase ? undefined : randomPassphraseCost)
  return {
    ...{ dir, passphrase, random, log, measures },
    ...(scryptCost === undefined ? {} : { scryptCost }),
    ...(rootCa === undefined ? {} : { plugged: rootCa }),
  }
}

/** A key service that does not answer may come back: until then everything is served that needs no signature of its key. */
function goOnWithout({ log }: OpenSettings, kind: string, cause: unknown): void {
  if (!(cause instanceof Problem) || cause.kind !== 'unavailable') throw cause
  log.warn({ kind, err: cause }, 'the key of this authority cannot be used now; the centre goes on without it')
}

function signerAt(path: string, { passphrase, random, scryptCost }: KeyRing): Promise<Signer> {
  if (existsSync(path)) return fileSigner({ path, passphrase })
  return createSealedKey({ path, passphrase, random, ...(scryptCost === undefined ? {} : { scryptCost }) })
}

async function tokenKey(signer: Signer): Promise<CentreKeys['token']> {
  const spki = await signer.publicKeySpki()
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return { signer, publicKey, kid: sha256Hex(spki).slice(0, 16) }
}

/** True where the authorities were made just now: their keys are on disk before the rows that name them. */
async function firstStart(settings: OpenSettings, mesh: MeshName, ring: KeyRing): Promise<boolean> {
  if ((await settings.db.read((tx) => loadAuthorities(tx, mesh))).length > 0) return false
  const moment = { mesh, now: settings.now(), random: settings.random }
  const shared = settings.sharedDomain === undefined ? null : parseSharedDomain(settings.sharedDomain, mesh)
  const wish = settings.rootCa === undefined ? settings.root : ({ where: 'plugged' } as const)
  const asked = { ...moment, kind: 'root', number: 1, trustDomain: shared ?? undefined } as const
  const root = await makeAuthority(wish ? { ...asked, wish } : asked, ring)
  const made = [root, await makeAuthority({ ...moment, kind: 'control-plane', number: 1 }, ring)]
  return settings.db.transact(async (tx) => {
    // The first writer of the mesh row makes the authorities; whoever raced it waits here and then finds them.
    await saveMesh(tx, mesh, moment.now, shared)
    if ((await loadAuthorities(tx, mesh)).length > 0) return false
    for (const { row, certificate } of made) {
      await insertAuthority(tx, { ...row, state: 'active' })
      await appendIssuance(tx, mesh, authorityIssued({ row, certificate, by: centreCaller, at: moment.now }))
    }
    return true
  })
}

/** What was said at the first start, where it is said again. */
async function checkSettings(settings: OpenSettings, name: MeshName): Promise<void> {
  const { mesh, authorities } = await settings.db.read(async (tx) => ({
    mesh: await loadMesh(tx, name),
    authorities: await loadAuthorities(tx, name),
  }))
  if (mesh) checkLaterStart(settings, { mesh, authorities })
  const { rootCa: dir, log } = settings
  const known = authorities.map(({ certificate }) => certificate)
  if (dir !== undefined && !isTaken(dir, known))
    log.warn({ dir }, 'the CA in this directory is no root of this mesh yet: isthmus trust rotate-root --where plugged')
}

async function tellFirstStart(centre: Centre, tx: Tx): Promise<void> {
  await audited(centre, tx, centreCaller, { action: 'mesh.create', object: `mesh ${centre.mesh}` })
  await askPublish(centre, tx, { cause: 'first start', author: centreCaller })
}

/** Where no operator has a key, one for an administrator: its hash from the settings, or a new one in the file. */
async function ensureAdmin(centre: Centre, settings: OpenSettings): Promise<void> {
  const some = await (centre.db satisfies Database).read((tx) => loadOperatorKeys(tx, centre.mesh, '', 1))
  if (some.length > 0) return
  const hash = settings.adminKeyHash ?? sha256Hex(firstAdminKey(settings.adminKeyFile, settings.random))
  const now = centre.now()
  await centre.db.transact(async (tx) => {
    await saveOperatorKey(tx, {
      mesh: centre.mesh,
      id: newId(now),
      name: 'first-admin',
      hash,
      role: 'admin',
      createdAt: now,
      expiresAt: null,
      revokedAt: null,
    })
    await audited(centre, tx, centreCaller, { action: 'operator-key.create', object: 'operator key first-admin' })
  })
  if (settings.adminKeyHash === undefined)
    centre.log.info({ file: settings.adminKeyFile }, 'the first administrator key is in this file; keep it')
}
