import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { Problem } from '#mesh/model/problem.ts'
import { joinAnswerSchema, type PublicJwk } from '#mesh/wire/join.ts'

/** Who this relay is to the centre. Written once at join, read at every start. */
const membershipSchema = joinAnswerSchema.extend({ url: z.string() })
export type Membership = z.infer<typeof membershipSchema>

/** The relay's own key for the centre: proves at `/v1/token` that it is the relay that joined. */
export type RelayKey = { readonly jwk: PublicJwk; readonly thumbprint: string; readonly key: KeyObject }

/** Loads the key, making and storing it (0600) first where there is none: it must be on disk before the token is spent. */
export function loadOrMakeRelayKey(dir: string): RelayKey {
  const path = join(dir, 'relay-key.pem')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  if (!existsSync(path)) {
    const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    replaceFile(path, made.export({ type: 'pkcs8', format: 'pem' }), 0o600)
  }
  try {
    return withThumbprint(createPrivateKey(readFileSync(path)))
  } catch (cause) {
    throw new Problem('internal', `${path} is damaged: restore it, or remove ${dir} and join again with a new token`, {
      cause,
    })
  }
}

function withThumbprint(key: KeyObject): RelayKey {
  const full = createPublicKey(key).export({ format: 'jwk' })
  const jwk = { kty: 'EC', crv: 'P-256', x: full.x ?? '', y: full.y ?? '' } as const
  const thumbprint = createHash('sha256')
    .update(`{"crv":"${jwk.crv}","kty":"${jwk.kty}","x":"${jwk.x}","y":"${jwk.y}"}`)
    .digest('base64url')
  return { jwk, thumbprint, key }
}

export function loadMembership(dir: string): Membership | undefined {
  const path = join(dir, 'membership.json')
  if (!existsSync(path)) return undefined
  try {
    return membershipSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new Problem('internal', `${path} is damaged: restore it, or remove ${dir} and join again with a new token`, {
      cause,
    })
  }
}

export function saveMembership(dir: string, membership: Membership): void {
  replaceFile(join(dir, 'membership.json'), `${JSON.stringify(membership, null, 2)}\n`, 0o600)
}

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
