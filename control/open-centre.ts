import { createPublicKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { centreCaller } from '#control/caller.ts'
import { type Authority, askPublish, audited, type Centre, type CentreKeys } from '#control/centre.ts'
import { centreSecret, firstAdminKey, passphraseOf } from '#control/first-files.ts'
import type { PassphraseSource } from '#control/keys/passphrase.ts'
import { createSealedKey, fileSigner } from '#control/keys/sealed-file.ts'
import { newId } from '#control/new-id.ts'
import { type AuthorityRow, insertAuthority, loadAuthorities } from '#control/store/authorities.ts'
import type { Database, Tx } from '#control/store/database.ts'
import { makeDirectory } from '#control/store/make-directory.ts'
import { saveMesh } from '#control/store/meshes.ts'
import { loadOperatorKeys, saveOperatorKey } from '#control/store/operator-keys.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { controlPlaneCaNames, rootNames } from '#mesh/trust/names.ts'
import type { Signer } from '#mesh/trust/signer.ts'
import { centreOrigin, centreUrlFault } from '#mesh/wire/centre-url.ts'

export type OpenSettings = Pick<Centre, 'db' | 'now' | 'random' | 'bus' | 'log' | 'measures' | 'reservedIps'> & {
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
  const passphrase = passphraseOf(settings)
  const signer = (name: string) => signerAt(settings, join(settings.keysDir, `${name}.key`), passphrase)
  const [root, controlPlane, token] = await Promise.all([signer('root-1'), signer('control-plane-1'), signer('token')])
  const authorities = await firstStart(settings, mesh, { root, controlPlane })
  const keys: CentreKeys = {
    root: authorities.root,
    controlPlane: authorities.controlPlane,
    token: await tokenKey(token),
    secret: centreSecret(settings.keysDir, settings.random),
  }
  const { db, now, random, bus, log, measures, reservedIps } = settings
  const instance = newId(now())
  const centre: Centre = { db, instance, now, random, bus, log, measures, reservedIps, mesh, url, keys }
  if (authorities.made) await centre.db.transact((tx) => tellFirstStart(centre, tx))
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

function signerAt(settings: OpenSettings, path: string, passphrase: Uint8Array): Promise<Signer> {
  if (existsSync(path)) return fileSigner({ path, passphrase })
  const scryptCost = settings.scryptCost ?? (settings.passphrase ? undefined : randomPassphraseCost)
  const cost = scryptCost === undefined ? {} : { scryptCost }
  return createSealedKey({ path, passphrase, random: settings.random, ...cost })
}

async function tokenKey(signer: Signer): Promise<CentreKeys['token']> {
  const spki = await signer.publicKeySpki()
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return { signer, publicKey, kid: sha256Hex(spki).slice(0, 16) }
}

type Signers = { readonly root: Signer; readonly controlPlane: Signer }
type Found = { readonly root: Authority; readonly controlPlane: Authority; readonly made: boolean }

async function firstStart(settings: OpenSettings, mesh: MeshName, signers: Signers): Promise<Found> {
  const made = {
    root: await selfSigned('root', mesh, signers.root),
    controlPlane: await selfSigned('control-plane', mesh, signers.controlPlane),
  }
  const { rows, isFirst } = await settings.db.transact(async (tx) => {
    // The first writer of the mesh row makes the authorities; whoever raced it waits here and then finds them.
    await saveMesh(tx, mesh, settings.now())
    const found = await loadAuthorities(tx, mesh)
    if (found.length > 0) return { rows: found, isFirst: false }
    const rows = [made.root, made.controlPlane]
    for (const row of rows) await insertAuthority(tx, row)
    return { rows, isFirst: true }
  })
  return {
    root: await authorityFrom(rows, 'root', signers.root),
    controlPlane: await authorityFrom(rows, 'control-plane', signers.controlPlane),
    made: isFirst,
  }

  async function selfSigned(kind: AuthorityRow['kind'], mesh: MeshName, signer: Signer): Promise<AuthorityRow> {
    const isRoot = kind === 'root'
    const certificate = await issueCertificate(
      {
        profile: isRoot ? 'root' : 'control-plane-ca',
        names: isRoot ? rootNames(mesh, 1) : controlPlaneCaNames(mesh, 1),
        publicKey: await signer.publicKeySpki(),
        issuer: 'self',
        now: new Date(settings.now()),
        serial: settings.random(16),
      },
      signer,
    )
    const now = settings.now()
    const id = newId(now)
    const pem = certificatePem(certificate)
    const times = { createdAt: now, stateAt: now }
    const own = { number: 1, chain: null, trusted: null, revision: 1 }
    return { mesh, id, kind, state: 'active', certificate: pem, keyRef: `file:${kind}-1.key`, ...times, ...own }
  }
}

async function authorityFrom(
  rows: readonly AuthorityRow[],
  kind: AuthorityRow['kind'],
  signer: Signer,
): Promise<Authority> {
  const row = rows.find((r) => r.kind === kind && r.state === 'active')
  if (!row) throw new Problem('conflict', `the database holds no active ${kind} authority`)
  const certificate = parseCertificate(row.certificate, `${kind} certificate`)
  if (!Buffer.from(certificate.publicKey.spki).equals(await signer.publicKeySpki()))
    throw new Problem(
      'conflict',
      `the sealed ${kind} key is not the one that the database's ${kind} certificate was made with: ` +
        'start with the data directory (or DATABASE_URL) that belongs to these keys',
    )
  return { id: row.id, certificate, signer }
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
