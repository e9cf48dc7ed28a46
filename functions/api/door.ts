import type { HttpBindings } from '@hono/node-server'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Caller } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import type { Metrics } from '#functions/api/metrics.ts'
import type { RateLimit } from '#functions/api/rate-limit.ts'

/** What the routes of the API stand on. */
export type Door = {
  readonly centre: Centre
  readonly metrics: Metrics
  readonly version: string
  /** SHA-256 of the CA that relays are told to trust in their join token; absent with a publicly trusted certificate. */
  readonly caSha256: () => string | undefined
  /** PEM of a CA of the user's own above the centre's certificate: joined relays have to trust it as well. */
  readonly ownCa?: string | undefined
  readonly limits: Limits
  /** The control-plane CA (SHA-256 of its DER) under which this process serves; absent with the user's own certificate. */
  readonly authority: () => string | undefined
  /** When the certificate that the centre serves with ends. */
  readonly servingEnd: () => Date
  /** True once the centre has published what it knew at its start. */
  readonly ready: () => boolean
  /** What of the centre's own work needs a hand: one line each. Strangers may read them. */
  readonly attention: () => readonly string[]
}

export type Limits = {
  readonly operators: RateLimit
  readonly clusters: RateLimit
  /** By address: who has no credential, or a wrong one. */
  readonly strangers: RateLimit
}

export type Env = { Variables: { caller: Caller; bytes: Uint8Array }; Bindings: Partial<HttpBindings> }
export type Api = OpenAPIHono<Env>
