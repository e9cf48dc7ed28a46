import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { thumbprintOf } from '#mesh/wire/assertion.ts'
import { joinAnswerSchema, type PublicJwk } from '#mesh/wire/join.ts'

/** Who this relay is to the centre. Written once at join, read at every start. `keyId` is the key it joined with. */
const membershipSchema = joinAnswerSchema.extend({
  url: z.string(),
  keyId: z.string(),
  /** The join token named no CA: the centre's certificate is one that everybody trusts. */
  publiclyTrusted: z.literal(true).optional(),
})
export type Membership = z.infer<typeof membershipSchema>

/** The relay's own key for the centre: proves at `/v1/token` that it is the relay that joined. */
export type RelayKey = { readonly jwk: PublicJwk; readonly thumbprint: string; readonly key: KeyObject }

const keyPath = (dir: string) => join(dir, 'relay-key.pem')
const membershipPath = (dir: string) => join(dir, 'membership.json')

/**
 * The key to join with, made and stored (0600) first where there is none: it must be on disk before the token is spent.
 * Throws `conflict` for a damaged one, and `unavailable` where it cannot be written.
 */
export function loadOrMakeRelayKey(dir: string): RelayKey {
  const path = keyPath(dir)
  if (existsSync(path)) return readKey(dir)
  const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  writing(path, () => {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    replaceFile(path, made.export({ type: 'pkcs8', format: 'pem' }), 0o600)
  })
  return readKey(dir)
}

/** The key that this relay joined with. Throws `conflict` where it is missing, damaged or another one. */
export function loadRelayKey(dir: string, membership: Membership): RelayKey {
  const path = keyPath(dir)
  if (!existsSync(path)) throw unusable(dir, `${path} is missing`)
  const key = readKey(dir)
  if (key.thumbprint !== membership.keyId) throw unusable(dir, `${path} is not the key that this relay joined with`)
  return key
}

function readKey(dir: string): RelayKey {
  try {
    const key = createPrivateKey(readFileSync(keyPath(dir)))
    const { x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
    const jwk = { kty: 'EC', crv: 'P-256', x, y } as const
    // The file holds both halves, and damage to one of them still parses.
    const proof = Buffer.from('isthmus')
    if (!verify('sha256', proof, { key: jwk, format: 'jwk' }, sign('sha256', proof, key))) throw new Error('two halves')
    return { jwk, thumbprint: thumbprintOf(jwk), key }
  } catch (cause) {
    throw unusable(dir, `${keyPath(dir)} is damaged`, cause)
  }
}

/**
 * Who this relay joined as; undefined where it has not joined. A damaged file is replaced by the copy beside it, and
 * `warn` is told. Throws `conflict` where both are damaged.
 */
export function loadMembership(dir: string, warn: (text: string) => void = () => undefined): Membership | undefined {
  const path = membershipPath(dir)
  if (!existsSync(path)) return undefined
  try {
    return readMembership(path)
  } catch (cause) {
    try {
      const copy = readMembership(`${path}.1`)
      warn(`${path} is damaged: ${path}.1 takes its place`)
      return copy
    } catch {
      throw unusable(dir, `${path} is damaged, and so is the copy beside it`, cause)
    }
  }
}

function readMembership(path: string): Membership {
  const { sha256, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, Json>
  if (sha256 !== hashOf(rest)) throw new Error('its checksum does not match')
  return membershipSchema.parse(rest)
}

/** Throws `unavailable` where it cannot be written: joining again with the same token then gives the same answer. */
export function saveMembership(dir: string, membership: Membership): void {
  const text = `${JSON.stringify({ ...membership, sha256: hashOf(membership) }, null, 2)}\n`
  const path = membershipPath(dir)
  writing(path, () => {
    replaceFile(`${path}.1`, text, 0o600)
    replaceFile(path, text, 0o600)
  })
}

function writing(path: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    throw new Problem('unavailable', `${path} cannot be written: ${(cause as Error).message}; it is tried again`, {
      cause,
    })
  }
}

const unusable = (dir: string, what: string, cause?: unknown): Problem =>
  new Problem(
    'conflict',
    `${what}: put it back from a backup, or remove relay-key.pem and membership.json from ${dir} and join again with ` +
      'a new token (isthmus token create); what the relay knows of the mesh stays',
    cause === undefined ? {} : { cause },
  )

/** A JWT bearer assertion (RFC 7523): one minute, one use. `now` in Unix ms; `id` is random. */
export function assertionOf(membership: Membership, relay: RelayKey, now: number, id: string): string {
  const seconds = Math.floor(now / 1000)
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${part({ alg: 'ES256', typ: 'JWT', kid: relay.thumbprint })}.${part({
    iss: membership.clusterId,
    sub: membership.clusterId,
    aud: membership.url,
    iat: seconds,
    nbf: seconds,
    exp: seconds + 60,
    jti: id,
  })}`
  const signature = sign('sha256', Buffer.from(body), { key: relay.key, dsaEncoding: 'ieee-p1363' })
  return `${body}.${signature.toString('base64url')}`
}
