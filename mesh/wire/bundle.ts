import { z } from 'zod'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import { parseClusterName, parseMeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type BundleLink, bundleLimits, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { formatSpiffeId, parseSpiffeId, parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { named } from '#mesh/wire/named.ts'

/** Items of stream `trust/<mesh>`. The number is padded, so that the order of keys is the order of links. */
export const bundleKeys = {
  bundle: 'bundle',
  link: (seq: number) => `link/${String(seq).padStart(10, '0')}`,
} as const

const seq = z.number().int().min(1).max(9_999_999_999)
/** Unix ms; the last that a Date can hold. */
const at = z.number().int().nonnegative().max(8.64e15)
const cut = z.number().int().min(1).max(9_999_999_999)
export const sha256Text = z.string().regex(/^[0-9a-f]{64}$/, 'is not 64 hex digits')
const pem = z.string().startsWith('-----BEGIN CERTIFICATE-----').max(16_384)
const root = z.looseObject({ pem, state: z.enum(['published', 'active', 'tainted']) })
const trustDomain = named(parseTrustDomain)
const workloadId = named((text) => formatSpiffeId(parseSpiffeId(text)))

/** Objects are loose: a field of a newer centre stays, because the digest covers it. */
export const bundleSchema = z
  .looseObject({
    mesh: named(parseMeshName),
    seq,
    at,
    roots: z.array(root).min(1).max(bundleLimits.roots),
    controlPlane: z.array(root).min(1).max(bundleLimits.controlPlane),
    revoked: z
      .array(
        z.looseObject({
          trustDomain,
          cluster: named(parseClusterName),
          cut,
          at,
          issuer: z.literal(true).exactOptional(),
        }),
      )
      .max(bundleLimits.revoked),
    denied: z.array(z.looseObject({ id: workloadId, cut })).max(bundleLimits.denied),
    foreign: z
      .array(z.looseObject({ trustDomain, roots: z.array(pem).min(1).max(bundleLimits.rootsEach) }))
      .max(bundleLimits.foreign),
    unfederated: z.array(z.looseObject({ trustDomain, cut, at })).max(bundleLimits.unfederated).exactOptional(),
  })
  .superRefine((bundle, context) => {
    const say = (message: string): void => void context.addIssue({ code: 'custom', message })
    const bytes = Buffer.byteLength(canonicalJson(bundle as Json))
    if (bytes > bundleLimits.bytes) say(`has ${bytes} bytes; at most ${bundleLimits.bytes}`)
    for (const [what, texts] of [
      ['root', bundle.roots.map((one) => one.pem)],
      ['control-plane CA', bundle.controlPlane.map((one) => one.pem)],
      ['foreign trust domain', bundle.foreign.map((one) => one.trustDomain)],
    ] as const)
      if (new Set(texts).size !== texts.length) say(`names one ${what} twice`)
  })

export const linkSchema = z.looseObject({
  seq,
  prev: z.union([z.literal(''), sha256Text]),
  digest: sha256Text,
  at,
  signer: sha256Text,
  signature: z.base64().min(1).max(1024),
  controlPlane: z.array(pem).min(1).max(bundleLimits.controlPlane).exactOptional(),
})

/** What the stream says, as it was sent: nothing of it is verified. Links in order. */
export type SaidTrust = { readonly bundle?: TrustBundle; readonly links: readonly BundleLink[] }

/**
 * The bundle and links among the items of stream `trust/<mesh>`; without a bundle the centre is an older one. Other keys
 * are ignored. All or nothing: throws `invalid` that names the item, and the reader keeps what it had.
 */
export function parseTrustStream(items: ReadonlyMap<string, unknown>): SaidTrust {
  const said = items.get(bundleKeys.bundle)
  const bundle = said === undefined ? undefined : read(bundleSchema, bundleKeys.bundle, said)
  const links = [...items.keys()]
    .filter((key) => key.startsWith('link/'))
    .toSorted()
    .map((key): BundleLink => {
      const link = read(linkSchema, key, items.get(key))
      if (bundleKeys.link(link.seq) !== key) throw refused(key, `its number is ${link.seq}`)
      return link
    })
  return { ...(bundle ? { bundle } : {}), links }
}

function read<T>(schema: z.ZodType<T>, key: string, body: unknown): T {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw refused([key, ...(issue?.path ?? [])].map(String).join('.'), issue?.message ?? 'is not understood')
}

const refused = (path: string, reason: string): Problem =>
  new Problem(
    'invalid',
    `the delivered trust bundle makes no sense (${path}: ${reason}): the one before it stays in force; ` +
      'read it at the centre, or upgrade the older of relay and centre',
    { violations: [{ path, reason }] },
  )
