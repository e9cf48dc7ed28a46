import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import { z } from 'zod'
import { type JwksSource, type KeyFinder, keepKeys } from '#gateway/identity/jwks.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What a verified projected service-account token says. */
export type WorkloadToken = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly pod: { readonly name: string; readonly uid: string }
  readonly expiresAt: Date
}

export type VerifyToken = (token: string) => Promise<WorkloadToken>

export type TokenSettings = {
  /** `iss`, compared as text. */
  readonly issuer: string
  /** `aud`; `istio-ca` is what Istio's agents have in their pods. */
  readonly audience?: string
  /** Audiences of the API server beside the issuer and Kubernetes' usual ones. */
  readonly apiServerAudiences?: readonly string[]
  readonly jwks: JwksSource
  readonly clock: () => Date
  readonly warn?: (fault: unknown, message: string) => void
}

const leewaySeconds = 60
/**
 * A token comes from this cluster's own API server, and is judged by the centre's clock: where the clocks of the whole
 * cluster are ahead, every fresh token begins in the future. What is signed and not over is then good at once.
 */
const aheadSecondsMax = 15 * 60
const tokenCharsMax = 16_384
const algorithms = ['ES256', 'RS256']

/** What an API server accepts where nobody set `--api-audiences`. */
const usualApiAudiences = [
  'https://kubernetes.default.svc',
  'https://kubernetes.default.svc.cluster.local',
  'https://kubernetes.default',
  'kubernetes.default.svc',
]

/**
 * A verifier of projected service-account tokens, by issuer and key set, without asking the API server.
 *
 * It throws `unauthenticated` with one bland sentence for every refusal, the reason being its cause (for the log), and
 * `unavailable` while no key was ever read. Refused beside the usual: a token whose audience is *also* the API server's,
 * because whoever shows it here could have used it there; a token not bound to a pod; an algorithm other than ES256 and
 * RS256, or one that is not its key's; a key id that is unknown after reading the key set again.
 *
 * Throws `invalid` at once when `audience` is the API server's own.
 * Source: Kubernetes bound service-account tokens (KEP-1205), RFC 7519, RFC 8725.
 */
export function tokenVerifier(settings: TokenSettings): VerifyToken {
  const { issuer, audience = 'istio-ca', jwks, clock, warn = () => undefined } = settings
  const apiAudiences = new Set([...usualApiAudiences, issuer, ...(settings.apiServerAudiences ?? [])])
  if (apiAudiences.has(audience)) {
    throw new Problem(
      'invalid',
      `the token audience "${audience}" is the API server's own: a token for it also opens the API; use "istio-ca"`,
    )
  }
  const keys = keepKeys(jwks, { clock, warn })
  return async (token) => {
    if (token.length > tokenCharsMax) throw refused(`it has ${token.length} characters`)
    const check = async (find: KeyFinder): Promise<JWTPayload> => {
      const currentDate = judgedAt(token, clock())
      const options = { algorithms, issuer, audience, clockTolerance: leewaySeconds, currentDate }
      return (await jwtVerify(token, find, { ...options, requiredClaims: ['sub', 'iat', 'exp'] })).payload
    }
    try {
      // Without an id the only key of a set would do, and a swap of keys would go unseen.
      if (typeof decodeProtectedHeader(token).kid !== 'string') throw refused('it names no key')
      const payload = await check(await keys.current()).catch(async (fault: unknown) => {
        if (!(fault instanceof errors.JWKSNoMatchingKey) || !(await keys.refresh())) throw fault
        return await check(await keys.current())
      })
      return workloadOf(payload, { apiAudiences, nowSeconds: clock().getTime() / 1000 })
    } catch (fault) {
      throw fault instanceof Problem ? fault : refused(isOfTime(fault) ? withClock(fault, clock()) : fault)
    }
  }
}

/** Now; the token's own beginning where that is a little later. */
function judgedAt(token: string, now: Date): Date {
  const { nbf } = decodeJwt(token)
  const aheadMs = typeof nbf === 'number' ? nbf * 1000 - now.getTime() : 0
  return aheadMs > 0 && aheadMs <= aheadSecondsMax * 1000 ? new Date(now.getTime() + aheadMs) : now
}

const isOfTime = (fault: unknown): fault is Error =>
  (fault instanceof errors.JWTClaimValidationFailed || fault instanceof errors.JWTExpired) &&
  /^(nbf|exp|iat)$/.test(fault.claim) &&
  fault.reason === 'check_failed'

const withClock = (fault: Error, now: Date): Error =>
  new Error(`${fault.message}: by the centre's clock it is ${now.toISOString()}; set the clocks of this cluster (NTP)`)

const claimsSchema = z.object({
  aud: z.union([z.string(), z.array(z.string())]),
  sub: z.string(),
  iat: z.number(),
  exp: z.number(),
  'kubernetes.io': z.object({
    namespace: z.string().min(1).max(63),
    serviceaccount: z.object({ name: z.string().min(1).max(253) }),
    pod: z.object({ name: z.string().min(1).max(253), uid: z.string().min(1).max(128) }),
  }),
})

function workloadOf(
  payload: JWTPayload,
  { apiAudiences, nowSeconds }: { readonly apiAudiences: ReadonlySet<string>; readonly nowSeconds: number },
): WorkloadToken {
  const parsed = claimsSchema.safeParse(payload)
  if (!parsed.success) throw refused(`its claim ${parsed.error.issues[0]?.path.join('.')} is not that of a pod's token`)
  const { aud, sub, iat, exp, 'kubernetes.io': claims } = parsed.data
  if ([aud].flat().some((audience) => apiAudiences.has(audience))) throw refused('its audience is also the API server')
  if (iat > nowSeconds + aheadSecondsMax) throw refused('it was issued in the future')
  const { namespace, serviceaccount, pod } = claims
  if (sub !== `system:serviceaccount:${namespace}:${serviceaccount.name}`)
    throw refused('its subject is another account')
  return { namespace, serviceAccount: serviceaccount.name, pod, expiresAt: new Date(exp * 1000) }
}

/** Istio's own words, which its agents' users know; the reason goes to the log. */
export const refusedSentence = 'request authenticate failure'
const refused = (cause: unknown): Problem => new Problem('unauthenticated', refusedSentence, { cause })
