import { z } from 'zod'
import { type JwksSource, keepKeys, UnknownKey } from '#gateway/identity/jwks.ts'
import { type Jws, readJws } from '#gateway/identity/jws.ts'
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
  /** The pods that there are now, where that is known: a token outlives its pod by up to an hour. */
  readonly podOf?: PodOf | undefined
  readonly clock: () => Date
  readonly warn?: (fault: unknown, message: string) => void
}

/** A pod as the API server has it; undefined: there is none of that name. `unknown`: nobody can tell now. */
export type PodOf = (
  namespace: string,
  name: string,
) => { readonly uid?: string; readonly serviceAccount: string } | undefined | 'unknown'

const leewaySeconds = 60
/**
 * A token comes from this cluster's own API server, and is judged by the centre's clock: where the clocks of the whole
 * cluster are ahead, every fresh token begins in the future. What is signed and not over is then good at once.
 */
const aheadSecondsMax = 15 * 60
const tokenCharsMax = 16_384

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
    const read = async (): Promise<Jws> => readJws(token, await keys.current())
    try {
      const { payload } = await read().catch(async (fault: unknown) => {
        if (!(fault instanceof UnknownKey) || !(await keys.refresh())) throw fault
        return await read()
      })
      const now = clock()
      const claims = claimsIn(payload)
      checkClaims(claims, { issuer, audience, now })
      const workload = workloadOf(claims, { apiAudiences, nowSeconds: now.getTime() / 1000 })
      if (settings.podOf) checkPod(workload, settings.podOf)
      return workload
    } catch (fault) {
      throw fault instanceof Problem ? fault : refused(fault)
    }
  }
}

const claimsSchema = z.object({
  iss: z.string(),
  aud: z.union([z.string(), z.array(z.string())]),
  sub: z.string(),
  iat: z.number(),
  nbf: z.number().optional(),
  exp: z.number(),
  'kubernetes.io': z.object({
    namespace: z.string().min(1).max(63),
    serviceaccount: z.object({ name: z.string().min(1).max(253) }),
    pod: z.object({ name: z.string().min(1).max(253), uid: z.string().min(1).max(128) }),
  }),
})
type Claims = z.infer<typeof claimsSchema>

function claimsIn(payload: Jws['payload']): Claims {
  const parsed = claimsSchema.safeParse(payload)
  if (parsed.success) return parsed.data
  const path = parsed.error.issues[0]?.path.join('.')
  throw refused(`its "${path}" claim is not that of a pod's token`)
}

/** The registered claims (RFC 7519 §4.1), times to the second, forgiving what clocks may differ by. */
function checkClaims(
  { iss, aud, nbf, exp }: Claims,
  { issuer, audience, now }: { readonly issuer: string; readonly audience: string; readonly now: Date },
): void {
  if (iss !== issuer) throw refused('its "iss" claim is another issuer')
  if (![aud].flat().includes(audience)) throw refused('its "aud" claim is another audience')
  const seconds = Math.floor(judgedAt(nbf, now).getTime() / 1000)
  if (nbf !== undefined && nbf > seconds + leewaySeconds)
    throw refused(withClock('its "nbf" claim is in the future', now))
  if (exp <= seconds - leewaySeconds) throw refused(withClock('it is over by its "exp" claim', now))
}

/** Now; the token's own beginning where that is a little later. */
function judgedAt(nbf: number | undefined, now: Date): Date {
  const aheadMs = nbf === undefined ? 0 : nbf * 1000 - now.getTime()
  return aheadMs > 0 && aheadMs <= aheadSecondsMax * 1000 ? new Date(now.getTime() + aheadMs) : now
}

const withClock = (reason: string, now: Date): string =>
  `${reason}: by the centre's clock it is ${now.toISOString()}; set the clocks of this cluster (NTP)`

function workloadOf(
  { aud, sub, iat, exp, 'kubernetes.io': claims }: Claims,
  { apiAudiences, nowSeconds }: { readonly apiAudiences: ReadonlySet<string>; readonly nowSeconds: number },
): WorkloadToken {
  if ([aud].flat().some((audience) => apiAudiences.has(audience))) throw refused('its audience is also the API server')
  if (iat > nowSeconds + aheadSecondsMax) throw refused('it was issued in the future')
  const { namespace, serviceaccount, pod } = claims
  if (sub !== `system:serviceaccount:${namespace}:${serviceaccount.name}`)
    throw refused('its subject is another account')
  return { namespace, serviceAccount: serviceaccount.name, pod, expiresAt: new Date(exp * 1000) }
}

function checkPod({ namespace, serviceAccount, pod }: WorkloadToken, podOf: PodOf): void {
  const found = podOf(namespace, pod.name)
  if (found === 'unknown') return
  if (!found) throw refused(`there is no pod ${namespace}/${pod.name}, or not any more`)
  if (found.uid !== undefined && found.uid !== pod.uid)
    throw refused(`its pod ${namespace}/${pod.name} is gone, and another one has its name`)
  if (found.serviceAccount !== serviceAccount) throw refused(`pod ${namespace}/${pod.name} runs as another account`)
}

/** Istio's own words, which its agents' users know; the reason goes to the log. */
export const refusedSentence = 'request authenticate failure'
const refused = (cause: unknown): Problem => new Problem('unauthenticated', refusedSentence, { cause })
