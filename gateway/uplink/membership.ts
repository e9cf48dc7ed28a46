import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { makeDirectory } from '#gateway/make-directory.ts'
import { setAside } from '#gateway/set-aside.ts'
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
 * The key to join with, made and stored (0600) first where there is none that can be used: it must be on disk before the
 * token is spent. Throws `unavailable` where it cannot be written.
 */
export function loadOrMakeRelayKey(dir: string): RelayKey {
  const path = keyPath(dir)
  if (existsSync(path))
    try {
      return readKey(dir)
    } catch {
      // It was set aside, and is told about by whoever starts the relay.
    }
  const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  writing(path, () => {
    makeDirectory(dir)
    replaceFile(path, made.export({ type: 'pkcs8', format: 'pem' }), 0o600)
  })
  return readKey(dir)
}

/**
 * The key that this relay joined with. Throws `conflict` where it is missing, damaged (then it was set aside) or another
 * one: to the centre nobody but its holder is this relay, so only a new token helps.
 */
export function loadRelayKey(dir: string, membership: Membership): RelayKey {
  const path = keyPath(dir)
  if (!existsSync(path)) throw new Problem('conflict', `${path} is missing`)
  const key = readKey(dir)
  if (key.thumbprint !== membership.keyId)
    throw new Problem('conflict', `${path} is not the key that this relay joined with`)
  return key
}

function readKey(dir: string): RelayKey {
  const path = keyPath(dir)
  try {
    const key = createPrivateKey(readFileSync(path))
    const { x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
    const jwk = { kty: 'EC', crv: 'P-256', x, y } as const
    // The file holds both halves, and damage to one of them still parses.
    const proof = Buffer.from('isthmus')
    if (!verify('sha256', proof, { key: jwk, format: 'jwk' }, sign('sha256', proof, key)))
      throw new Error('its two halves do not belong together')
    return { jwk, thumbprint: thumbprintOf(jwk), key }
  } catch (cause) {
    throw unusable(path, cause)
  }
}

/**
 * Who this relay joined as; undefined where it has not joined. It is kept twice: a file that is missing or damaged is
 * made anew from the one beside it, and `warn` is told. Throws `conflict` where neither can be used. What is damaged was
 * set aside by then.
 */
export function loadMembership(dir: string, warn: (text: string) => void = () => undefined): Membership | undefined {
  const path = membershipPath(dir)
  const places = [path, `${path}.1`]
  const found = places.map((place): { readonly place: string; membership?: Membership; fault?: Problem } => {
    try {
      return existsSync(place) ? { place, membership: readMembership(place) } : { place }
    } catch (cause) {
      return { place, fault: unusable(place, cause) }
    }
  })
  const good = found.find((one) => one.membership)
  if (!good) {
    const faults = found.flatMap(({ fault }) => fault ?? [])
    if (faults.length === 0) return undefined
    throw new Problem('conflict', faults.map((fault) => fault.message).join('; '), { cause: faults[0] })
  }
  for (const { place, membership, fault } of found) {
    if (membership) continue
    warn(`${fault?.message ?? `${place} is missing`}: ${good.place} takes its place`)
    try {
      replaceFile(place, readFileSync(good.place), 0o600)
    } catch {
      // A disk that takes nothing: said again at the next start.
    }
  }
  return good.membership
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

const unusable = (path: string, cause: unknown): Problem =>
  new Problem('conflict', `${path} is damaged (${(cause as Error).message}); ${setAside(path)}`, { cause })

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
