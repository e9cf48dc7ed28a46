import { HTTPException } from 'hono/http-exception'
import { Problem, problemKinds } from '#mesh/model/problem.ts'

/** The one sentence that a caller without a good credential hears; the reason goes to the log. */
const bland = 'the credential is missing, wrong, expired or withdrawn'

/** Whatever was thrown, as a Problem: a bug of ours says nothing about itself to the caller. */
export function toProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown
  if (thrown instanceof HTTPException && thrown.status < 500)
    return new Problem('invalid', thrown.message || 'the request is malformed', { cause: thrown })
  return new Problem('internal', 'this is a fault of the centre, not of the request; its log says more', {
    cause: thrown,
  })
}

/**
 * A Problem as `application/problem+json` (RFC 9457): type, title, status, detail, instance, violations and the facts
 * a program needs as extra members. `cause` stays here. `too-many` and `unavailable` carry Retry-After.
 */
export function problemResponse(problem: Problem, instance: string): Response {
  const kind = problemKinds[problem.kind]
  const vague = problem.kind === 'unauthenticated' && problem.extra['explained'] !== true
  const { explained: _, ...extra } = problem.extra
  const body = {
    ...extra,
    type: `https://isthmus.dev/problems/${problem.kind}`,
    title: kind.title,
    status: kind.http,
    detail: vague ? bland : problem.message,
    instance,
    ...(problem.violations.length > 0 ? { violations: problem.violations } : {}),
  }
  const headers = new Headers({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
  if (kind.retry === 'later') headers.set('retry-after', String(problem.extra['retryAfterSeconds'] ?? 1))
  if (problem.kind === 'unauthenticated') headers.set('www-authenticate', 'Bearer realm="isthmus"')
  return new Response(JSON.stringify(body), { status: kind.http, headers })
}
