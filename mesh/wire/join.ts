import { z } from 'zod'

/** ECDSA P-256 public key. Its RFC 7638 thumbprint is the cluster's key id. */
export const publicJwkSchema = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  y: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
})
export type PublicJwk = z.infer<typeof publicJwkSchema>

/**
 * `POST /v1/join`, no bearer token: redeems a single-use join token for the membership of the cluster it was made for.
 * The relay makes and stores its key first; the same token with the same key within the token's hour gives the same
 * answer, another key is refused.
 */
export const joinRequestSchema = z.object({
  proto: z.string().max(32),
  token: z.string().min(20).max(200),
  /** The name in the relay's settings: must be the token's. */
  cluster: z.string().max(63),
  key: publicJwkSchema,
  network: z.string().min(1).max(63),
  region: z.string().max(63),
  relayVersion: z.string().max(64),
})
export type JoinRequest = z.infer<typeof joinRequestSchema>

export const joinAnswerSchema = z.object({
  clusterId: z.string(),
  cluster: z.string(),
  mesh: z.string(),
  trustDomain: z.string(),
  generation: z.number().int().min(1),
  /** PEM: the control-plane CA that certifies the centre's and the relays' serving certificates. */
  controlPlaneCa: z.string(),
  time: z.number(),
})
export type JoinAnswer = z.infer<typeof joinAnswerSchema>

/** `POST /v1/token`: RFC 7523 JWT bearer assertion (`kid` = thumbprint, `aud` = the centre's URL, `jti` once, ± 5 min). */
export const tokenRequestSchema = z.object({ assertion: z.string().min(20).max(4096) })
export const tokenAnswerSchema = z.object({ accessToken: z.string(), expiresInSeconds: z.number(), time: z.number() })
export type TokenAnswer = z.infer<typeof tokenAnswerSchema>

/** `POST /v1/clusters/{id}/certificates`: an issuing CA (for the cluster's trust domain) or the relay's serving certificate. */
export const signRequestSchema = z.object({
  kind: z.enum(['issuing', 'relay-serving']),
  csr: z.string().min(100).max(16_384),
  /** For relay-serving: the addresses at which proxies of the own cluster dial the relay. */
  ips: z.array(z.string().max(45)).max(16).optional(),
  dnsNames: z.array(z.string().max(253)).max(8).optional(),
})
export type SignRequest = z.infer<typeof signRequestSchema>

export const signAnswerSchema = z.object({
  /** PEM, own certificate first, without the root. */
  chain: z.string(),
  /** PEM of each root to trust (issuing), or of the control-plane CA (relay-serving). */
  roots: z.array(z.string()),
  notAfter: z.number(),
  /** Of an issuing CA: the trust domain it may speak for, and which generation of the cluster that is. */
  trustDomain: z.string().max(255).exactOptional(),
  generation: z.number().int().min(1).exactOptional(),
  time: z.number(),
})
export type SignAnswer = z.infer<typeof signAnswerSchema>
