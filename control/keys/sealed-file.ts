import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { codeOf, writeNewFile } from '#control/keys/new-file.ts'
import { openSealed, sealKey } from '#control/keys/seal.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'
import { signatureAlgorithms } from '#mesh/trust/oid.ts'
import { parsePublicKey, signatureFor } from '#mesh/trust/public-key.ts'
import type { Signer } from '#mesh/trust/signer.ts'

export type SealedFile = {
  readonly path: string
  readonly passphrase: Uint8Array
}

export type Creation = SealedFile & {
  /** `n` random bytes, for salt and nonce. The key itself is OpenSSL's. */
  readonly random: (n: number) => Uint8Array
  readonly curve?: 'P-256' | 'P-384'
  readonly scryptCost?: number
}

const bytesMax = 64 * 1024

/**
 * Makes a key, seals it into a new file of mode 0600, and gives back its signer once file and directory are on disk.
 * Throws `conflict` when the file is there already: a root key is never overwritten, not even by a start that races.
 */
export async function createSealedKey({
  path,
  passphrase,
  random,
  curve = 'P-256',
  scryptCost,
}: Creation): Promise<Signer> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: curve })
  return sealGivenKey(privateKey, { path, passphrase, random, ...(scryptCost === undefined ? {} : { scryptCost }) })
}

/** As `createSealedKey`, with a key that was made elsewhere. */
export async function sealGivenKey(
  key: KeyObject,
  { path, passphrase, random, scryptCost }: Omit<Creation, 'curve'>,
): Promise<Signer> {
  const pkcs8 = new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }))
  const cost = scryptCost === undefined ? {} : { cost: scryptCost }
  writeNew(path, await sealKey({ pkcs8, publicKey: spkiOf(key), passphrase, random, ...cost }), random(8))
  return fileSigner({ path, passphrase })
}

/**
 * The signer of a sealed file. The key stays in this process's memory, and only as OpenSSL's handle.
 *
 * Throws `not-found` when there is no file, `conflict` when others may read it or it is cut off or changed, `forbidden`
 * when the passphrase does not open it.
 */
export async function fileSigner({ path, passphrase }: SealedFile): Promise<Signer> {
  const { pkcs8, publicKey } = await openSealed(await readPrivate(path), passphrase, path)
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
  const spki = spkiOf(key)
  if (!Buffer.from(spki).equals(publicKey)) throw refused(path, 'its public and private halves differ')
  const algorithm = signatureFor(parsePublicKey(spki).kind)
  const { digest } = signatureAlgorithms[algorithm]
  return {
    algorithm,
    publicKeySpki: async () => spki,
    sign: async (tbs) => new Uint8Array(sign(digest, tbs, key)),
  }
}

const spkiOf = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))

async function readPrivate(path: string): Promise<string> {
  const file = await openFile(path)
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw refused(
        path,
        `its mode is ${(mode & 0o777).toString(8)}: others may have copied it; chmod 600 it if nobody did`,
      )
    }
    if (size > bytesMax) throw refused(path, `it has ${size} bytes, which no sealed key has`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') throw new Problem('not-found', `there is no sealed key at ${path}`, { cause })
    throw new Problem('unavailable', `the sealed key ${path} cannot be opened: ${codeOf(cause)}`, { cause })
  }
}

function writeNew(path: string, text: string, nonce: Uint8Array): void {
  try {
    writeNewFile(path, text, nonce)
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') throw refused(path, 'it is there already, and no key is ever overwritten', cause)
    throw new Problem('unavailable', `the sealed key ${path} cannot be written: ${fileFault(cause)}`, { cause })
  }
}

const refused = (path: string, reason: string, cause?: unknown): Problem =>
  new Problem('conflict', `the sealed key ${path} is not used: ${reason}`, { cause })
