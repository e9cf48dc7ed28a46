import { createPublicKey, type KeyObject } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type KeyLog, type KmsAccess, kmsClient, kmsSigner, openKmsKey } from '#control/keys/kms.ts'
import { measuredSigner, type SignerMeasures } from '#control/keys/measured-signer.ts'
import { createSealedKey, fileSigner, sealGivenKey } from '#control/keys/sealed-file.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parsePublicKey } from '#mesh/trust/public-key.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** Where the centre's keys are, and what opens them. */
export type KeyRing = {
  /** Directory of the sealed files; theirs alone, 0700. */
  readonly dir: string
  readonly passphrase: Uint8Array
  readonly random: (bytes: number) => Uint8Array
  readonly scryptCost?: number
  readonly log?: KeyLog
  /** Directory of a CA that is brought along; see `takePluggedCa`. */
  readonly plugged?: string
  /** How KMS is reached; absent: as AWS's own tools reach it. */
  readonly kms?: KmsAccess
  readonly measures?: SignerMeasures
}

/** A key to be made as a sealed file, or one that is with KMS already: `kms:<ARN>`. Its curve is then told, not chosen. */
export type KeyWish =
  | { readonly where: 'file'; readonly curve: 'P-256' | 'P-384' }
  | { readonly where: `kms:${string}`; readonly curve?: 'P-256' | 'P-384' }
/**
 * A wish as people write it. Throws `invalid` for a place or a curve that there is none of; of a key in KMS the curve may be
 * left out, of a file it is P-256 then.
 */
export function parseKeyWish({
  where = 'file',
  curve,
}: {
  where?: string | undefined
  curve?: string | undefined
}): KeyWish {
  if (curve !== undefined && curve !== 'P-256' && curve !== 'P-384')
    throw unknownWish('curve', `is "${curve.slice(0, 80)}": give P-256 or P-384`)
  if (where === 'file') return { where, curve: curve ?? 'P-256' }
  const arn = arnOf(where)
  if (!arn) throw unknownWish('where', `is "${where.slice(0, 80)}": give file, or kms: and the ARN of a key`)
  return { where: `kms:${arn}`, ...(curve === undefined ? {} : { curve }) }
}

const unknownWish = (path: string, reason: string): Problem =>
  new Problem('invalid', `the ${path === 'curve' ? 'curve' : 'place'} of a key ${reason}`, {
    violations: [{ path, reason }],
  })

export type MadeKey = { readonly keyRef: string; readonly signer: Signer }

/**
 * The signer that `keyRef` (`file:root-2.key`, `kms:arn:aws:kms:…`) names. Throws what `fileSigner` or `kmsSigner` throws,
 * `conflict` for a name of no known kind.
 */
export async function openSigner(keyRef: string, ring: KeyRing): Promise<Signer> {
  const arn = arnOf(keyRef)
  if (arn !== undefined) {
    const open = async () => kmsSigner({ client: await kmsClient(arn, ring.kms), arn, log: ring.log })
    return measuredSigner('kms', open, ring.measures)
  }
  const name = /^file:([a-z0-9-]+\.key)$/.exec(keyRef)?.[1]
  if (name === undefined) throw new Problem('conflict', `this isthmus opens no key named "${keyRef}"`)
  const open = () => fileSigner({ path: join(ring.dir, name), passphrase: ring.passphrase })
  return measuredSigner('file', open, ring.measures)
}

const arnOf = (text: string): string | undefined => (text.startsWith('kms:') ? text.slice('kms:'.length) : undefined)

/**
 * A key for the `number`th authority of a kind: made, or the one of an earlier attempt that ended before anything spoke of
 * it; with KMS the one that is named, which the centre never makes and so needs no right to make. Throws what
 * `createSealedKey`, `fileSigner` and `openKmsKey` throw, `conflict` where the key in KMS is of another curve than asked.
 */
export async function makeSigner(kind: string, number: number, wish: KeyWish, ring: KeyRing): Promise<MadeKey> {
  if (wish.where !== 'file') return kmsKey(wish, ring)
  const name = `${kind}-${number}.key`
  const path = join(ring.dir, name)
  const { passphrase, random, scryptCost } = ring
  const cost = scryptCost === undefined ? {} : { scryptCost }
  const open = () =>
    existsSync(path)
      ? fileSigner({ path, passphrase })
      : createSealedKey({ path, passphrase, random, curve: wish.curve, ...cost })
  return { keyRef: `file:${name}`, signer: await measuredSigner('file', open, ring.measures) }
}

/**
 * Seals a key that was brought along under `name`, or takes up the one of an earlier attempt. Throws `conflict` where
 * another key has that name, and what `sealGivenKey` throws.
 */
export async function sealGiven(key: KeyObject, name: string, ring: KeyRing): Promise<MadeKey> {
  const path = join(ring.dir, name)
  const { passphrase, random, scryptCost } = ring
  const cost = scryptCost === undefined ? {} : { scryptCost }
  const open = () =>
    existsSync(path) ? fileSigner({ path, passphrase }) : sealGivenKey(key, { path, passphrase, random, ...cost })
  const signer = await measuredSigner('file', open, ring.measures)
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  if (!spki.equals(await signer.publicKeySpki()))
    throw new Problem(
      'conflict',
      `${path} holds another key, of an earlier attempt that no database speaks of: move it away, and start again`,
    )
  return { keyRef: `file:${name}`, signer }
}

async function kmsKey({ where, curve }: Exclude<KeyWish, { where: 'file' }>, ring: KeyRing): Promise<MadeKey> {
  const asked = arnOf(where) ?? ''
  let arn = asked
  const open = async (): Promise<Signer> => {
    const opened = await openKmsKey({ client: await kmsClient(asked, ring.kms), arn: asked, log: ring.log })
    arn = opened.arn
    return opened.signer
  }
  const signer = await measuredSigner('kms', open, ring.measures)
  const { kind } = parsePublicKey(await signer.publicKeySpki())
  if (curve !== undefined && curve !== kind)
    throw new Problem(
      'conflict',
      `the KMS key ${arn} is ${kind}, and ${curve} was asked for: name another key, or no curve`,
    )
  return { keyRef: `kms:${arn}`, signer }
}
