import { createHash } from 'node:crypto'
import { docsPage, docsStyle } from '#functions/api/docs-page.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { clusterSecurity, problems } from '#functions/api/schemas.ts'

/** `/v1/openapi.json` (3.1) and `/docs`, a page of it that asks nobody else for anything. Both are public: they hold no data. */
export function docsRoutes(api: Api, door: Door): void {
  api.openAPIRegistry.registerComponent('securitySchemes', 'operatorKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'A key that begins with isthmus_key_, of role viewer, operator or admin',
  })
  api.openAPIRegistry.registerComponent('securitySchemes', 'clusterToken', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: "A cluster's access token from /v1/token",
  })
  // Answered by `functions/watch`, where connections are upgraded.
  api.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/watch',
    tags: ['relay'],
    summary: 'A WebSocket of hints: which streams moved, with their deltas where they are small',
    security: clusterSecurity,
    responses: { 101: { description: 'The connection is a WebSocket now' }, ...problems },
  })
  const document = () =>
    api.getOpenAPI31Document({
      openapi: '3.1.0',
      info: {
        title: 'Isthmus federation API',
        version: door.version,
        license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
        description:
          'Errors are application/problem+json with every violation. Lists page by an opaque cursor. Objects carry a ' +
          'revision, which is their ETag; writes take If-Match. PUT is idempotent by name, POST by Idempotency-Key.',
      },
      servers: [{ url: door.centre.url }],
    })
  let made: { readonly json: string; readonly page: string } | undefined
  const once = () => {
    if (made) return made
    const doc = document()
    made = { json: JSON.stringify(doc), page: docsPage(doc) }
    return made
  }
  const style = createHash('sha256').update(docsStyle).digest('base64')

  api.get('/v1/openapi.json', (c) => c.body(once().json, 200, { 'content-type': 'application/json' }))
  api.get('/docs', (c) =>
    c.html(once().page, 200, {
      'content-security-policy': `default-src 'none'; style-src 'sha256-${style}'; frame-ancestors 'none'; base-uri 'none'`,
    }),
  )
}
