import { createCipheriv, createDecipheriv, createHash, scrypt } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

/** scrypt's memory and time: 128 MiB and about 0.4 s (OWASP's first choice). A file may ask for more, never for less. */
const usualCost = 2 ** 17
const costMin = 2 ** 14
const costMax = 2 ** 20
const blockSize = 8

const sealedSchema = z.strictObject({
  format: z.literal('isthmus-sealed-key/1'),
  kdf: z.strictObject({ name: z.literal('scrypt'), cost: z.number().int(), salt: z.base64() }),
  cipher: z.strictObject({ name: z.literal('aes-256-gcm'), nonce: z.base64() }),
  /** SubjectPublicKeyInfo: what the key is can be told without the passphrase. */
  publicKey: z.base64(),
  sealed: z.base64(),
  /** SHA-256 over all other fields: tells damage from a wrong passphrase. */
  digest: z.string().length(64),
})
type Sealed = z.infer<typeof sealedSchema>

export type SealInput = {
  readonly pkcs8: Uint8Array
  readonly publicKey: Uint8Array
  readonly passphrase: Uint8Array
  /** `n` random bytes. */
  readonly random: (n: number) => Uint8Array
  readonly cost?: number
}

/** A key as text that only the passphrase opens: scrypt, then AES-256-GCM over key and header. */
export async function sealKey({ pkcs8, publicKey, passphrase, random, cost = usualCost }: SealInput): Promise<string> {
  const salt = random(16)
  const nonce = random(12)
  const head = {
    format: 'isthmus-sealed-key/1',
    kdf: { name: 'scrypt', cost, salt: base64(salt) },
    cipher: { name: 'aes-256-gcm', nonce: base64(nonce) },
    publicKey: base64(publicKey),
  } as const
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, salt, cost), nonce)
  cipher.setAAD(Buffer.from(canonicalJson(head)))
  const sealed = base64(Buffer.concat([cipher.update(pkcs8), cipher.final(), cipher.getAuthTag()]))
  const body = { ...head, sealed }
  return `${JSON.stringify({ ...body, digest: digestOf(body) }, null, 2)}\n`
}

/**
 * The key (PKCS#8 DER) in a sealed text, and its public half. Throws `conflict` when the text is cut off or changed,
 * `forbidden` when the passphrase is another one; `place` is for the message.
 */
export async function openSealed(
  text: string,
  passphrase: Uint8Array,
  place: string,
): Promise<{ readonly pkcs8: Uint8Array; readonly publicKey: Uint8Array }> {
  const { digest, sealed, ...head } = parseSealed(text, place)
  if (digestOf({ ...head, sealed }) !== digest) throw damaged(place, 'its digest does not match')
  if (head.kdf.cost < costMin || head.kdf.cost > costMax || (head.kdf.cost & (head.kdf.cost - 1)) !== 0) {
    throw damaged(place, `its scrypt cost ${head.kdf.cost} is out of bounds`)
  }
  const bytes = Buffer.from(sealed, 'base64')
  const key = await derive(passphrase, Buffer.from(head.kdf.salt, 'base64'), head.kdf.cost)
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(head.cipher.nonce, 'base64'), {
      authTagLength: 16,
    })
    decipher.setAAD(Buffer.from(canonicalJson(head)))
    decipher.setAuthTag(bytes.subarray(-16))
    const pkcs8 = Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()])
    return { pkcs8: new Uint8Array(pkcs8), publicKey: new Uint8Array(Buffer.from(head.publicKey, 'base64')) }
  } catch (cause) {
    throw new Problem('forbidden', `the key ${place} does not open: the passphrase is not the one it was sealed with`, {
      cause,
    })
  }
}

function parseSealed(text: string, place: string): Sealed {
  try {
    return sealedSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw damaged(place, 'it is cut off, or no sealed key', cause)
  }
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

const digestOf = (body: Omit<Sealed, 'digest'>): string =>
  createHash('sha256').update(canonicalJson(body)).digest('hex')

const derive = (passphrase: Uint8Array, salt: Uint8Array, cost: number): Promise<Buffer> =>
  new Promise((done, fail) => {
    const options = { N: cost, r: blockSize, p: 1, maxmem: 2 * 128 * cost * blockSize }
    scrypt(passphrase, salt, 32, options, (error, key) => (error ? fail(error) : done(key)))
  })

const damaged = (place: string, reason: string, cause?: unknown): Problem =>
  new Problem(
    'conflict',
    `the sealed key ${place} is not used: ${reason}. Put back an undamaged copy from your backup`,
    {
      cause,
    },
  )
