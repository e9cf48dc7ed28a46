import type { Violation } from '#mesh/model/problem.ts'
import { Problem } from '#mesh/model/problem.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import {
  checkForeignDers,
  checkForeignRoots,
  type ForeignRootExpectations,
  type ForeignRoots,
} from '#mesh/trust/check-foreign-roots.ts'

/** What another mesh says of itself: its roots, and in a SPIFFE bundle what it calls this state of them. */
export type ForeignBundle = ForeignRoots & {
  /** `spiffe_sequence`: goes up with each change there. */
  readonly sequence?: number
  /** `spiffe_refresh_hint`: how soon to look again. */
  readonly refreshSeconds?: number
}

export const foreignBundleBytesMax = 262_144
/** Those for JWT among them: each may have a fault to be told. */
const keysMax = 256

/**
 * Reads what an operator was given by another mesh: a SPIFFE bundle (JSON), or PEM with its roots. Every fault of all of
 * it at once, by path (`keys[1].use`, `roots[0]`); what `checkForeignRoots` asks of a root is asked of each.
 *
 * Keys for JWT and for what SPIFFE may add (`…-svid`) are passed over, as it asks; a key of no use, or of another world's,
 * is a fault, because somebody meant something by it. Throws `invalid` only where nothing in it can be judged.
 * Source: SPIFFE Trust Domain and Bundle §4, X.509-SVID §6; RFC 7517 §4.7.
 */
export function readForeignBundle(text: string, expectations: ForeignRootExpectations): ForeignBundle {
  const bytes = Buffer.byteLength(text)
  if (bytes > foreignBundleBytesMax) throw unread(`it has ${bytes} bytes; at most ${foreignBundleBytesMax}`)
  return /^[\s\ufeff]*[[{]/.test(text) ? readJson(text, expectations) : checkForeignRoots(text, expectations)
}

function readJson(text: string, expectations: ForeignRootExpectations): ForeignBundle {
  const body = objectIn(text)
  const { keys } = body
  if (!Array.isArray(keys)) throw unread('it has no list "keys"', 'keys')
  if (keys.length > keysMax) throw unread(`it holds ${keys.length} keys; at most ${keysMax}`, 'keys')
  const read = keys.map((key: unknown, i) => readKey(key, `keys[${i}]`))
  const ders = read.flatMap((one) => (one.der ? [{ path: one.path, der: one.der }] : []))
  if (ders.length > bundleLimits.rootsEach)
    throw unread(`it holds ${ders.length} roots; at most ${bundleLimits.rootsEach}`, 'keys')
  const checked = checkForeignDers(ders, expectations)
  const sequence = numberOf(body, 'spiffe_sequence', 0)
  const refresh = numberOf(body, 'spiffe_refresh_hint', 1)
  const byPath = new Map(ders.map(({ path, der }) => [path, der]))
  const violations = [
    ...read.flatMap((one) => one.violations),
    ...checked.violations,
    ...read.flatMap((one) => keyFaults(one, checked.certificates, byPath.get(one.path))),
    ...sequence.violations,
    ...refresh.violations,
  ]
  if (ders.length === 0 && violations.length === 0)
    violations.push({ path: 'keys', reason: 'none of them is of use x509-svid: it names no root' })
  return {
    ...checked,
    violations,
    ...(sequence.value === undefined ? {} : { sequence: sequence.value }),
    ...(refresh.value === undefined ? {} : { refreshSeconds: refresh.value }),
  }
}

function objectIn(text: string): Readonly<Record<string, unknown>> {
  let body: unknown
  try {
    body = JSON.parse(text.replace(/^\ufeff/, ''))
  } catch (cause) {
    throw unread(`it is not JSON: ${(cause as Error).message.slice(0, 200)}`)
  }
  if (!isObject(body)) throw unread('it is no object')
  return body
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

type ReadKey = {
  readonly path: string
  readonly key?: Readonly<Record<string, unknown>>
  readonly der?: Uint8Array
  readonly violations: readonly Violation[]
}

function readKey(key: unknown, path: string): ReadKey {
  const fault = (at: string, reason: string): ReadKey => ({ path, violations: [{ path: `${path}${at}`, reason }] })
  if (!isObject(key)) return fault('', 'is no object')
  const { use, x5c } = key
  if (typeof use !== 'string' || use === '') return fault('.use', 'is missing; a root has the use x509-svid')
  if (use !== 'x509-svid')
    return /^[a-z0-9]+-svid$/.test(use)
      ? { path, violations: [] }
      : fault('.use', `is ${JSON.stringify(use.slice(0, 40))}; a root has the use x509-svid`)
  if (!Array.isArray(x5c) || x5c.length === 0) return fault('.x5c', 'is missing: the certificate of the root, base64')
  if (x5c.length > 1) return fault('.x5c', `holds ${x5c.length} certificates; a root stands alone`)
  const [only] = x5c as unknown[]
  const der = typeof only === 'string' ? Buffer.from(only, 'base64') : undefined
  if (!der || der.length === 0 || der.toString('base64') !== only)
    return fault('.x5c[0]', 'is not base64 of a certificate (standard alphabet, no line breaks)')
  return { path, key, der: new Uint8Array(der), violations: [] }
}

/** A key that is said beside its certificate is the certificate's: others may have read the one, and we read the other. */
function keyFaults({ path, key }: ReadKey, certificates: readonly Certificate[], der?: Uint8Array): Violation[] {
  const certificate = der && certificates.find((one) => Buffer.from(one.der).equals(der))
  if (!certificate || !key) return []
  const own = certificate.publicKey.key.export({ format: 'jwk' }) as Readonly<Record<string, unknown>>
  return ['kty', 'crv', 'x', 'y', 'n', 'e']
    .filter((name) => (name === 'kty' || key[name] !== undefined) && key[name] !== own[name])
    .map((name) => ({ path: `${path}.${name}`, reason: 'is not that of its certificate' }))
}

function numberOf(
  body: Readonly<Record<string, unknown>>,
  path: 'spiffe_sequence' | 'spiffe_refresh_hint',
  min: number,
): { readonly value?: number; readonly violations: readonly Violation[] } {
  const value = body[path]
  if (value === undefined) return { violations: [] }
  const max = path === 'spiffe_sequence' ? Number.MAX_SAFE_INTEGER : 2_147_483_647
  const isRight = typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
  return isRight
    ? { value, violations: [] }
    : { violations: [{ path, reason: `is no whole number from ${min} to ${max}` }] }
}

const unread = (reason: string, path = 'bundle'): Problem =>
  new Problem('invalid', `the bundle cannot be read: ${reason}`, { violations: [{ path, reason }] })
