import type { KeyObject } from 'node:crypto'
import { open } from 'node:fs/promises'
import { z } from 'zod'
import { type TokenAlgorithm, type TokenKey, verifyingKeys } from '#gateway/identity/jws.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Where the public keys of a cluster's token issuer come from. */
export interface JwksSource {
  /** For messages. */
  readonly place: string
  /** The key set's JSON text as it is now. Throws where it cannot be had: never an empty set in its place. */
  read(): Promise<string>
}

const bytesMax = 256 * 1024

/** The key set as a file that somebody replaces by rename. */
export const fileJwks = (path: string): JwksSource => ({
  place: path,
  read: async () => {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      if (size > bytesMax) throw new Problem('invalid', `the key set ${path} has ${size} bytes; at most ${bytesMax}`)
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  },
})

const keySetSchema = z.object({
  keys: z
    .array(
      z
        .looseObject({ kty: z.string().max(64), kid: z.string().min(1).max(256) })
        .refine((key) => key.kty !== 'oct', 'is a secret key (kty oct): whoever verifies could sign')
        .refine(
          (key) => key['d'] === undefined,
          'holds a private key: replace that key everywhere, it is no secret now',
        ),
    )
    .min(1)
    .max(64),
})

/** What finds a token's key. Throws `UnknownKey` where there is none, and an Error where there are several. */
export type KeyFinder = (kid: string, alg: TokenAlgorithm) => KeyObject

export class UnknownKey extends Error {
  override readonly name = 'UnknownKey'
}

/** Parses a key set. Throws `invalid` that names the place: not JSON, no key, a key without id, a private or secret key. */
function parseJwks(text: string, place: string): KeyFinder {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Problem('invalid', `the key set ${place} is not JSON: write it anew`, { cause })
  }
  const parsed = keySetSchema.safeParse(value)
  // Keys of other kinds (OKP) may stand beside ours; no token that is taken names them.
  if (parsed.success)
    return finderOf(verifyingKeys(parsed.data.keys.filter(({ kty }) => kty === 'EC' || kty === 'RSA')))
  const violations = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), reason: issue.message }))
  throw new Problem('invalid', `the key set ${place} is refused: ${violations[0]?.path} ${violations[0]?.reason}`, {
    violations,
  })
}

function finderOf(keys: readonly TokenKey[]): KeyFinder {
  return (kid, alg) => {
    const [only, ...more] = keys.filter((one) => one.kid === kid && one.alg === alg)
    if (!only) throw new UnknownKey('the key set has no applicable key for it')
    if (more.length > 0) throw new Error('the key set has several keys of its id')
    return only.key
  }
}

export type Keys = {
  /** The keys known now, read again when older than a minute. Throws `unavailable` when none were ever read. */
  readonly current: () => Promise<KeyFinder>
  /** Reads again now, unless that was done less than 10 s ago: for a token whose key is not known. Whether it did. */
  readonly refresh: () => Promise<boolean>
}

const freshMs = 60_000
const refreshMsMin = 10_000

/**
 * Keeps the keys of `source`. A read that fails keeps the last good set: an issuer whose file is gone for a moment still
 * issues to pods that run. Reads are single and rate limited, so a flood of made-up key ids costs one read in 10 s.
 */
export function keepKeys(
  source: JwksSource,
  { clock, warn }: { readonly clock: () => Date; readonly warn: (fault: unknown, message: string) => void },
): Keys {
  let known: KeyFinder | undefined
  let triedAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined
  const read = async (): Promise<void> => {
    try {
      known = parseJwks(await source.read(), source.place)
    } catch (fault) {
      warn(
        fault,
        `the token issuer's keys in ${source.place} cannot be read; ${known ? 'the last ones stay' : 'there are none'}`,
      )
    }
  }
  const readOnce = async (): Promise<void> => {
    triedAt = clock().getTime()
    reading ??= read().finally(() => {
      reading = undefined
    })
    await reading
  }
  const ageMs = (): number => Math.abs(clock().getTime() - triedAt)
  return {
    current: async () => {
      if (ageMs() > (known ? freshMs : refreshMsMin)) await readOnce()
      else await reading
      if (!known)
        throw new Problem('unavailable', `the keys of this cluster's token issuer are not known: see ${source.place}`)
      return known
    },
    refresh: async () => {
      if (ageMs() <= refreshMsMin) return false
      await readOnce()
      return true
    },
  }
}
