import { z } from 'zod'
import { Problem } from '#mesh/model/problem.ts'

// What the centre's API says of trust, as far as the command line reads it. More members are no fault: a newer centre has them.

const digest = z.string()
const time = z.string()

const authority = z.looseObject({
  ...{ id: z.string(), kind: z.string(), state: z.string(), sha256: z.string(), notAfter: time },
  number: z.number().default(1),
  keyKind: z.string().default('unknown'),
  signer: z.string().default('unknown'),
  stateAt: time.optional(),
  issuedUnder: z.number().optional(),
})
export type Authority = z.infer<typeof authority>

const clusterTrust = z.looseObject({
  ...{ cluster: z.string(), trustDomain: z.string(), state: z.string().default('joined') },
  generation: z.number().default(1),
  confined: z.boolean().default(true),
  /** Identities that its issuing CA could make itself believed as; of interest where it is not confined. */
  claims: z.looseObject({ identities: z.number(), clusters: z.number() }).nullish(),
  issuing: z.looseObject({ root: z.string(), notAfter: time, standing: z.string().optional() }).nullish(),
  bundle: z
    .looseObject({
      ...{ seq: z.number(), acked: z.number().default(0), proxies: z.number().default(0) },
      missing: z.array(z.string()).default([]),
      fault: z.looseObject({ reason: z.string(), detail: z.string() }).optional(),
    })
    .nullish(),
  /** Why what it said may not stand any more. */
  silent: z.string().nullish(),
})
export type ClusterTrust = z.infer<typeof clusterTrust>

const waiting = z.looseObject({ cluster: z.string(), what: z.string(), detail: z.string().default('') })
export type Waiting = z.infer<typeof waiting>

const rotation = z.looseObject({
  ...{ id: z.string().default(''), kind: z.string(), step: z.string(), state: z.string().default('running') },
  cluster: z.string().optional(),
  from: z.unknown(),
  to: z.unknown(),
  startedAt: time.optional(),
  stepAt: time.optional(),
  waitsFor: z.array(waiting).default([]),
  progress: z.looseObject({ done: z.number(), of: z.number() }).optional(),
  forced: z.array(z.looseObject({ step: z.string(), reason: z.string() })).default([]),
  /** Of a rehearsal: every step to come, and what it would wait for if it began now. */
  steps: z.array(z.looseObject({ step: z.string(), waitsFor: z.array(waiting).default([]) })).optional(),
})
export type Rotation = z.infer<typeof rotation>

const revocation = z.looseObject({
  ...{ cut: z.number(), kind: z.string(), subject: z.string(), reason: z.string().default('') },
  ...{ at: time, by: z.string().default(''), trustDomain: z.string().optional() },
  relays: z
    .array(z.looseObject({ cluster: z.string(), newMs: z.number().nullish(), oldMs: z.number().nullish() }))
    .default([]),
  newMsMax: z.number().nullish(),
  oldMsMax: z.number().nullish(),
  undoneAt: time.nullish(),
})
export type Revocation = z.infer<typeof revocation>

const revokedSchema = z.looseObject({
  ...{ cut: z.number(), kind: z.string(), subject: z.string(), trustDomain: z.string(), at: time, reason: z.string() },
})

const foreign = z.looseObject({
  trustDomain: z.string(),
  roots: z.array(z.looseObject({ sha256: digest, notAfter: time, certificate: z.string() })).default([]),
  sequence: z.number().nullable().default(null),
  refreshSeconds: z.number().nullable().default(null),
  updatedAt: time.optional(),
  /** Exports that admit its workloads. */
  admittedBy: z.array(z.string()).default([]),
})
export type Foreign = z.infer<typeof foreign>

const trust = z.looseObject({
  mode: z.looseObject({ kind: z.string(), trustDomain: z.string().nullish() }).optional(),
  bundle: z.looseObject({ seq: z.number(), digest, at: time }).nullish(),
  authorities: z.array(authority),
  clusters: z.array(clusterTrust).default([]),
  foreign: z.array(foreign).default([]),
  revoked: z.array(revokedSchema).default([]),
  rotations: z.array(rotation).default([]),
})
export type Trust = z.infer<typeof trust>

const issuance = z.looseObject({
  ...{ seq: z.number(), at: time, kind: z.string(), cluster: z.string().nullish(), serial: z.string().nullish() },
  keySha256: z.string().nullish(),
})
export type Issuance = z.infer<typeof issuance>

const logCheck = z.looseObject({
  checked: z.number(),
  head: z.looseObject({ seq: z.number(), hash: z.string() }),
  brokenAt: z.number().nullish(),
  relays: z.array(z.looseObject({ cluster: z.string(), seq: z.number(), hash: z.string() })).default([]),
})
export type LogCheck = z.infer<typeof logCheck>

export const parseTrust = (body: unknown): Trust => parsed(trust, body)
export const parseForeign = (body: unknown): Foreign => parsed(foreign, body)
export const parseRotation = (body: unknown): Rotation => parsed(rotation, body)
export const parseRevocation = (body: unknown): Revocation => parsed(revocation, body)
export const parseIssuances = (rows: readonly unknown[]): readonly Issuance[] =>
  rows.map((row) => parsed(issuance, row))
export const parseLogCheck = (body: unknown): LogCheck => parsed(logCheck, body)

/** Throws `internal`: the centre said something that this command does not understand. */
function parsed<T>(schema: z.ZodType<T>, body: unknown): T {
  const found = schema.safeParse(body)
  if (found.success) return found.data
  const why = `the centre’s answer is not understood: ${z.prettifyError(found.error).replaceAll(/\s*\n\s*/g, ' ')}`
  throw new Problem('internal', why, {
    extra: { mend: 'use the command of the centre’s own version: isthmus version' },
  })
}
