import { OpenAPIHono } from '@hono/zod-openapi'
import { openCatalogue } from '#control/catalogue.ts'
import type { Api, Door, Env } from '#functions/api/door.ts'
import { problemResponse, toProblem } from '#functions/api/problem.ts'
import { auditRoutes } from '#functions/api/routes/audit-events.ts'
import { catalogueRoutes } from '#functions/api/routes/catalogue.ts'
import { certificateRoutes } from '#functions/api/routes/certificates.ts'
import { clusterConfigRoutes } from '#functions/api/routes/cluster-configs.ts'
import { clusterRoutes } from '#functions/api/routes/clusters.ts'
import { docsRoutes } from '#functions/api/routes/docs.ts'
import { drainRoutes } from '#functions/api/routes/drains.ts'
import { explanationRoutes } from '#functions/api/routes/explanations.ts'
import { foreignDomainRoutes } from '#functions/api/routes/foreign-domains.ts'
import { freezeRoutes } from '#functions/api/routes/freeze.ts'
import { healthRoutes } from '#functions/api/routes/health.ts'
import { historyRoutes } from '#functions/api/routes/history.ts'
import { issuanceRoutes } from '#functions/api/routes/issuances.ts'
import { istiodCaRoutes } from '#functions/api/routes/istiod-ca.ts'
import { joinRoutes } from '#functions/api/routes/join.ts'
import { joinTokenRoutes } from '#functions/api/routes/join-tokens.ts'
import { loadRoutes } from '#functions/api/routes/load.ts'
import { meshRoutes } from '#functions/api/routes/meshes.ts'
import { metricsRoutes } from '#functions/api/routes/metrics.ts'
import { operatorKeyRoutes } from '#functions/api/routes/operator-keys.ts'
import { planRoutes } from '#functions/api/routes/plans.ts'
import { policySourceRoutes } from '#functions/api/routes/policy-sources.ts'
import { pullRoutes } from '#functions/api/routes/pull.ts'
import { rehearsalRoutes } from '#functions/api/routes/rehearsals.ts'
import { revocationRoutes } from '#functions/api/routes/revocations.ts'
import { rollbackRoutes } from '#functions/api/routes/rollbacks.ts'
import { rotationRoutes } from '#functions/api/routes/rotations.ts'
import { samenessGroupRoutes } from '#functions/api/routes/sameness-groups.ts'
import { serviceExportRoutes } from '#functions/api/routes/service-exports.ts'
import { spiffeBundleRoutes } from '#functions/api/routes/spiffe-bundles.ts'
import { syncRoutes } from '#functions/api/routes/sync.ts'
import { trafficRoutes } from '#functions/api/routes/traffic.ts'
import { trafficPolicyRoutes } from '#functions/api/routes/traffic-policies.ts'
import { trustRoutes } from '#functions/api/routes/trust.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Nothing of the API is a page to be framed, sniffed or kept; the pages that are pages set their own policy. */
const securityHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

/** The whole HTTP API of the centre. Each route names who may call it; what none matches is a `not-found` problem. */
export function openApi(door: Door): Api {
  const api: Api = new OpenAPIHono<Env>({
    strict: false,
    defaultHook: (result) => {
      if (result.success) return
      const violations = result.error.issues.map((issue) => ({
        path: issue.path.join('.') || result.target,
        reason: issue.message,
      }))
      const first = violations[0]
      throw new Problem('invalid', `${first?.path ?? 'request'}: ${first?.reason ?? 'not valid'}`, { violations })
    },
  })
  api.use('*', async (c, next) => {
    const started = performance.now()
    await next()
    for (const [name, value] of Object.entries(securityHeaders)) if (!c.res.headers.has(name)) c.header(name, value)
    const route = c.req.routePath.endsWith('*') ? 'unknown' : c.req.routePath
    door.metrics.requests.inc({ route, method: c.req.method, status: c.res.status })
    door.metrics.requestSeconds.observe({ route }, (performance.now() - started) / 1000)
  })
  api.onError((error, c) => {
    const problem = toProblem(error)
    if (problem.kind === 'internal')
      door.centre.log.error({ err: error, path: c.req.path, cause: problem.cause }, 'a request failed by our fault')
    return problemResponse(problem, c.req.path)
  })
  api.notFound((c) =>
    problemResponse(
      new Problem('not-found', `there is no ${c.req.method} ${c.req.path.slice(0, 200)}: see /docs`),
      c.req.path,
    ),
  )
  const catalogue = openCatalogue(door.centre)
  healthRoutes(api, door)
  metricsRoutes(api, door)
  joinRoutes(api, door)
  syncRoutes(api, door)
  pullRoutes(api, door)
  loadRoutes(api, door)
  certificateRoutes(api, door)
  meshRoutes(api, door)
  clusterRoutes(api, door)
  joinTokenRoutes(api, door)
  catalogueRoutes(api, door, catalogue)
  serviceExportRoutes(api, door, catalogue)
  trafficPolicyRoutes(api, door)
  trafficRoutes(api, door)
  samenessGroupRoutes(api, door)
  drainRoutes(api, door)
  freezeRoutes(api, door)
  policySourceRoutes(api, door)
  explanationRoutes(api, door)
  planRoutes(api, door, catalogue)
  rehearsalRoutes(api, door, catalogue)
  trustRoutes(api, door)
  spiffeBundleRoutes(api, door)
  foreignDomainRoutes(api, door)
  rotationRoutes(api, door)
  revocationRoutes(api, door)
  issuanceRoutes(api, door)
  istiodCaRoutes(api, door)
  clusterConfigRoutes(api, door)
  historyRoutes(api, door)
  rollbackRoutes(api, door, catalogue)
  operatorKeyRoutes(api, door)
  auditRoutes(api, door)
  docsRoutes(api, door)
  return api
}
