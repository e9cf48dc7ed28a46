import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { PublicJwk } from '#mesh/wire/join.ts'

/**
 * The claims of the assertion with which a relay asks for an access token (RFC 7523, ES256). `iss` and `sub` are the
 * cluster's id, `aud` the centre's URL as the join token named it, times in seconds, `jti` is used once. The header is
 * `{"alg":"ES256","typ":"JWT","kid":<thumbprint>}`; the signature is the raw 64 bytes of RFC 7518 §3.4.
 */
export const assertionClaimsSchema = z.object({
  iss: z.string().min(1).max(64),
  sub: z.string().min(1).max(64),
  aud: z.string().min(1).max(2048),
  jti: z.string().min(16).max(128),
  iat: z.number(),
  exp: z.number(),
})

/** How far a relay's clock may be off, and how long an assertion may live. */
export const assertionSkewMs = 5 * 60_000

/** The RFC 7638 thumbprint of a cluster's key, base64url: its key id. */
export const thumbprintOf = (key: PublicJwk): string =>
  createHash('sha256')
    .update(JSON.stringify({ crv: key.crv, kty: key.kty, x: key.x, y: key.y }))
    .digest('base64url')
