import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createSealedKey, fileSigner } from '#control/keys/sealed-file.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** Where the centre's keys are, and what opens them. */
export type KeyRing = {
  /** Directory of the sealed files; theirs alone, 0700. */
  readonly dir: string
  readonly passphrase: Uint8Array
  readonly random: (bytes: number) => Uint8Array
  readonly scryptCost?: number
}

export type KeyWish = { readonly where: 'file'; readonly curve: 'P-256' | 'P-384' }
export type MadeKey = { readonly keyRef: string; readonly signer: Signer }

/** The signer that `keyRef` (`file:root-2.key`) names. Throws what `fileSigner` throws, `conflict` for a name of no known kind. */
export async function openSigner(keyRef: string, ring: KeyRing): Promise<Signer> {
  const name = /^file:([a-z0-9-]+\.key)$/.exec(keyRef)?.[1]
  if (name === undefined) throw new Problem('conflict', `this isthmus opens no key named "${keyRef}"`)
  return fileSigner({ path: join(ring.dir, name), passphrase: ring.passphrase })
}

/**
 * A key for the `number`th authority of a kind: made, or the one of an earlier attempt that ended before anything spoke of
 * it. Throws what `createSealedKey` and `fileSigner` throw.
 */
export async function makeSigner(kind: string, number: number, wish: KeyWish, ring: KeyRing): Promise<MadeKey> {
  const name = `${kind}-${number}.key`
  const path = join(ring.dir, name)
  const { passphrase, random, scryptCost } = ring
  const cost = scryptCost === undefined ? {} : { scryptCost }
  const signer = existsSync(path)
    ? await fileSigner({ path, passphrase })
    : await createSealedKey({ path, passphrase, random, curve: wish.curve, ...cost })
  return { keyRef: `file:${name}`, signer }
}
