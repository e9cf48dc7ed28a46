import { z } from 'zod'
import { bundleSchema, linkSchema, sha256Text } from '#mesh/wire/bundle.ts'

const count = z.number().int().min(0).max(1_000_000)
const seq = z.number().int().min(0).max(9_999_999_999)
/** Unix ms; the last that a Date can hold. */
const time = z.number().int().nonnegative().max(8.64e15)
const durationMs = z.number().int().nonnegative().max(8.64e15)
const hashText = z.union([z.literal(''), sha256Text])

/** How many pods an item names, and how long each text is: `missingCount` says how many there are. */
export const trustReportLimits = { missing: 20, cuts: 8, pinned: 8, text: 500 } as const

/**
 * `trust`: what of the mesh's trust a cluster has taken up. Rotations wait for this word, so every field says what is so
 * at this moment, and nothing that was only sent on.
 */
export const trustReportSchema = z.object({
  /** The bundle in force; 0 and empty while there is none. */
  seq,
  digest: hashText,
  /** Proxies that are connected or should be, and those that hold every secret of this bundle and said so. */
  proxies: count,
  acked: count,
  /** `ns/pod: not connected`, `ns/pod: not acknowledged` or `ns/pod: refused: …` */
  missing: z.array(z.string().max(trustReportLimits.text)).max(trustReportLimits.missing),
  missingCount: count,
  /** `root`, `ca`: SHA-256 of the DER of the authority at the top. */
  issuing: z.object({ root: sha256Text, notAfter: time, trustDomain: z.string().max(255) }).nullable(),
  serving: z.object({ ca: sha256Text, notAfter: time }).nullable(),
  /** Control-plane CAs that the relay believes towards the centre. */
  pinned: z.array(sha256Text).max(trustReportLimits.pinned),
  /** Proxies, and those of them whose line to the relay trusts the whole list of control-plane CAs. */
  proxyCas: z.object({ all: count, current: count }),
  /** Leaves in use that are not of the current issuing CA's root and generation. */
  leaves: z.object({ old: count, oldestNotAfter: time }),
  /** The newest revocations: how long after `receivedAt` new handshakes were refused, and old connections closed. */
  cuts: z
    .array(z.object({ cut: seq, receivedAt: time, newMs: durationMs, oldMs: durationMs.nullable() }))
    .max(trustReportLimits.cuts),
  /** The head of the relay's own log of issued certificates. */
  log: z.object({ seq: z.number().int().nonnegative(), hash: hashText }),
  fault: z.object({ reason: z.string().max(64), detail: z.string().max(trustReportLimits.text) }).exactOptional(),
  /** With the fault `RolledBack`: the later bundle that the relay holds, signed by the centre. */
  proof: z.object({ bundle: bundleSchema, link: linkSchema }).exactOptional(),
})
export type TrustReport = z.infer<typeof trustReportSchema>
