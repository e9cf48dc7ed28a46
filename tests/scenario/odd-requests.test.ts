import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { epochOf, exported, facts, Reporter, summary } from '#tests/support/stores.ts'

/** Whatever somebody sends to whichever route: it is refused or answered, and never a fault of the centre. */
let centre: TestCentre
let east: TestRelay
let routes: readonly Route[]
beforeAll(async () => {
  centre = await openTestCentre()
  east = await new TestRelay(centre, 'east').join()
  await east.sync({ cluster: facts('net-east'), 'export/shop/web': exported() }, { complete: true })
  await centre.settle()
  routes = routesIn((await centre.call('GET', '/v1/openapi.json')).body as never)
})
afterAll(() => centre.close())

type Route = {
  readonly method: string
  readonly path: string
  readonly params: readonly string[]
  readonly query: readonly string[]
  readonly security: string
}
type Operation = {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly security?: readonly object[]
}
const routesIn = ({ paths }: { paths: Record<string, Record<string, Operation>> }): Route[] =>
  Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { parameters = [], security = [] }]) => ({
      ...{ method: method.toUpperCase(), path, security: Object.keys(security[0] ?? {})[0] ?? '' },
      params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name),
      query: parameters.filter((one) => one.in === 'query').map(({ name }) => name),
    })),
  )

let epochs = 1
/** A body that each route takes; of the others an empty one. */
const bodyOf = ({ method, path }: Route): Record<string, unknown> | undefined => {
  if (method !== 'POST' && method !== 'PUT') return undefined
  if (path === '/v1/join')
    return {
      ...{ proto: 'mesh-sync/1.0', token: 'x'.repeat(43), cluster: 'east', key: east.jwk, network: 'n' },
      ...{ region: 'r', relayVersion: '1' },
    }
  if (path === '/v1/token') return { assertion: east.assertion() }
  if (path === '/v1/clusters') return { name: 'north', region: 'r', network: 'n' }
  if (path === '/v1/operator-keys') return { name: 'one', role: 'viewer', expiresAt: '2027-01-01T00:00:00Z' }
  if (path.startsWith('/v1/service-exports')) return { consumers: ['west'], cluster: 'east' }
  if (path.endsWith('/sync')) return { ...new Reporter(epochOf(++epochs)).batch({ 'summary/shop/web': summary(1) }) }
  if (path === '/v1/pull') return { proto: 'mesh-sync/1.0', have: [['cfg/east', 'e', 1]], next: { 'cfg/east': 'x' } }
  if (path.endsWith('/certificates')) return { kind: 'relay-serving', csr: 'x'.repeat(100), ips: ['10.0.0.1'] }
  if (path === '/v1/rotations') return { kind: 'issuing', cluster: 'east', where: 'file', reason: 'r', dryRun: true }
  if (path.endsWith('/continue')) return { force: { reason: 'r' } }
  if (path.endsWith('/abort') || path.endsWith('/undo')) return { reason: 'r' }
  if (path === '/v1/revocations') return { kind: 'workload', subject: 'spiffe://elsewhere.org/ns/a/sa/b', reason: 'r' }
  return {}
}

/** Every place of a value where a text stands, as a function that puts another value there. */
function placesIn(value: unknown): ((poison: unknown) => unknown)[] {
  if (typeof value !== 'object' || value === null) return [(poison) => poison]
  const list = Array.isArray(value)
  return Object.entries(value).flatMap(([key, part]) =>
    placesIn(part).map((put) => (poison: unknown) => {
      const copy = list ? [...value] : { ...value }
      ;(copy as Record<string, unknown>)[key] = put(poison)
      return copy
    }),
  )
}

/** Stands for lists within lists, more than any recursion survives; in the text of a body they are written out. */
const deep = '<deep>'
const textOf = (body: unknown): Buffer =>
  Buffer.from((JSON.stringify(body) ?? '').replaceAll('"<deep>"', '['.repeat(50_000) + ']'.repeat(50_000)))

const poisons = ['a\0b', '\ud800', deep] as const

type Odd = {
  readonly params?: string
  readonly query?: Record<string, string>
  readonly body?: unknown
  readonly headers?: Record<string, string>
}
async function send(route: Route, { params = 'east', query = {}, body, headers = {} }: Odd): Promise<Answer> {
  const filled = route.path.replaceAll(/\{\w+\}/g, () => params)
  const asked = new URLSearchParams(query).toString()
  const bearer =
    route.security === 'operatorKey' ? centre.adminKey : route.security === 'clusterToken' ? east.bearer : undefined
  return centre.call(route.method, `${filled}${asked === '' ? '' : `?${asked}`}`, {
    ...{ bearer, headers },
    ...(body === undefined ? {} : { bytes: textOf(body) }),
  })
}

function expectNoFault(answer: Answer, what: unknown): void {
  expect(answer.status, JSON.stringify({ what, body: answer.body }).slice(0, 2000)).toBeLessThan(500)
  if (answer.status >= 400) expect(answer.headers.get('content-type')).toBe('application/problem+json')
}

test('NUL, half a character and bottomless nesting are refused wherever they stand', async () => {
  expect(routes.length).toBeGreaterThan(25)
  for (const route of routes) {
    for (const params of route.params.length === 0 ? [] : ['a%00b', '%ED%A0%80', '%', '%00'])
      for (const id of [params, east.id]) {
        const answer = await send(route, { params: id, body: bodyOf(route) })
        if (route.method !== 'DELETE') expectNoFault(answer, [route, id])
        if (id.includes('%00') && route.security === 'operatorKey')
          expect([route.path, answer.status, answer.body['detail']]).toEqual([
            route.path,
            400,
            expect.stringMatching(/^path: \w+ holds a NUL/),
          ])
      }
    for (const name of route.query) {
      const answer = await send(route, { query: { [name]: 'a\0b' }, body: bodyOf(route) })
      expectProblemAt(answer, 400, [route, name])
    }
    const body = bodyOf(route)
    if (!body) continue
    for (const put of placesIn(body))
      for (const poison of poisons) {
        const answer = await send(route, {
          params: route.security === 'clusterToken' ? east.id : 'east',
          body: put(poison),
        })
        expectNoFault(answer, [route, poison])
      }
  }
})

const expectProblemAt = (answer: Answer, status: number, what: unknown): void =>
  expect([what, answer.status, answer.headers.get('content-type')]).toEqual([what, status, 'application/problem+json'])

test('a body names the place of what is not taken', async () => {
  const answer = await centre.admin('PUT', '/v1/service-exports/shop/web', { consumers: ['west', 'a\0'] })
  expect(answer).toMatchObject({ status: 400, body: { violations: [{ path: 'consumers[1]' }] } })
})

test('a cursor that somebody made up is refused on every list', async () => {
  const lists: readonly (readonly [string, string])[] = [
    ['/v1/clusters', 'clusters'],
    ['/v1/audit-events', 'audit-events'],
    ['/v1/operator-keys', 'operator-keys'],
    ['/v1/cluster-configs', 'cluster-configs'],
    ['/v1/cluster-configs/east/revisions', 'revisions of east'],
    ['/v1/meshes', 'meshes'],
  ]
  for (const [path, list] of lists)
    for (const after of ['a\0b', '\0', '-1', 'NaN', '1e400', '\ufffd'.repeat(200)]) {
      const cursor = Buffer.from(`${list}\0${after}`).toString('base64url')
      const answer = await centre.admin('GET', `${path}?cursor=${cursor}`)
      expectNoFault(answer, [path, after])
      if (after.includes('\0')) expectProblemAt(answer, 400, path)
    }
})

test('claims that are no text, or no whole number, are no fault of the centre', async () => {
  const seconds = centre.clock.now / 1000
  const lists = (levels: number): unknown => (levels === 0 ? 1 : [lists(levels - 1)])
  const claims = [{ sub: 'a\0', iss: 'a\0' }, { sub: '\ud800' }, { jti: 'a\0'.repeat(20) }, { nested: lists(500) }]
  for (const more of claims) {
    const answer = await east.authenticate(east.assertion(more))
    expectProblemAt(answer, 401, Object.keys(more))
  }
  expect((await east.authenticate(east.assertion({ exp: seconds + 60.0004 }))).status).toBe(200)
})

describe('a report', () => {
  test('of which an item is odd: that one is set aside with its reason, the rest is taken', async () => {
    const wrong = { 'export/shop/a': { a: deep }, 'export/shop/b': exported({ serviceAccounts: ['x\0'] }) }
    const odd = { cluster: { ...(facts('net-east') as object), region: '\udfff' }, ...wrong, 'new\0kind': {} }
    east.reporter.restart(epochOf(++epochs))
    const batch = east.reporter.batch({ 'summary/shop/good': summary(2), 'export/shop/good': exported() })
    const items = [...Object.entries(odd).map(([k, v]) => ({ k, v })), ...batch.items]
    const answer = await centre.call('POST', `/v1/clusters/${east.id}/sync`, {
      ...{ bearer: east.bearer, bytes: textOf({ ...batch, items }) },
    })
    expect(answer).toMatchObject({ status: 200, body: { appliedSeq: batch.seq } })
    const rejected = Object.fromEntries(
      (answer.body['rejected'] as { key: string; reason: string }[]).map(({ key, reason }) => [key, reason]),
    )
    expect(rejected).toEqual({
      'export/shop/a': expect.stringContaining('nested more than 64 levels deep'),
      'export/shop/b': expect.stringMatching(/^serviceAccounts\[0\]: holds a NUL/),
      cluster: expect.stringMatching(/^region: holds half of a surrogate pair/),
      'new\0kind': expect.stringContaining('its key holds a NUL'),
    })
    expect(JSON.stringify((await centre.admin('GET', '/v1/services')).body)).toContain('shop/good')
  })

  test('of an export from beyond the end of time is refused, and the catalogue goes on', async () => {
    east.reporter.restart(epochOf(++epochs))
    const late = await east.sync({ 'export/shop/late': exported({ createdAt: Number.MAX_SAFE_INTEGER }) })
    expect(late.body['rejected']).toEqual([{ key: 'export/shop/late', reason: expect.stringMatching(/^createdAt: /) }])
    for (const path of ['/v1/services', '/v1/service-exports', '/v1/service-imports'])
      expect((await centre.admin('GET', path)).status).toBe(200)
  })
})

test('no input yields a fault of the centre', async () => {
  const odd = fc.oneof(
    fc.constantFrom<unknown>('', 'a\0', '\ud800', '%00', deep, null, -1, 0.5, 1e308, Number.MAX_SAFE_INTEGER, [], {}),
    fc.string({ unit: 'binary', maxLength: 70 }),
    fc.jsonValue(),
  )
  const text = fc.oneof(fc.constantFrom('east', 'a%00', '%', '%ED%A0%80', '..%2f', '*'), fc.webPath({ size: 'small' }))
  const ascii = fc.stringMatching(/^[\x20-\x7e]{0,40}$/)
  const which = fc.nat({ max: routes.length * 1000 })
  await fc.assert(
    fc.asyncProperty(which, text, odd, fc.nat(), ascii, async (n, params, poison, at, header) => {
      const route = routes[n % routes.length]
      if (!route || (route.method === 'DELETE' && params === 'east')) return
      const body = bodyOf(route)
      const places = placesIn(body)
      const asked = typeof poison === 'string' ? poison : JSON.stringify(poison)
      const query = Object.fromEntries(route.query.map((name) => [name, asked.slice(0, 200)]))
      const headers = { 'if-match': header, 'if-none-match': header, 'idempotency-key': header }
      const id = route.security === 'clusterToken' && at % 3 > 0 ? east.id : params
      const said = body === undefined ? {} : { body: places[at % places.length]?.(poison) }
      expectNoFault(await send(route, { params: id, query, headers, ...said }), [route, params, query, said])
    }),
    { numRuns: 250 },
  )
})

test('a relay is not certified for an address that is nobody’s, or the centre’s', async () => {
  const ask = (ip: string) =>
    centre.call('POST', `/v1/clusters/${east.id}/certificates`, {
      ...{ bearer: east.bearer, body: { kind: 'relay-serving', csr: 'x'.repeat(100), ips: ['10.0.0.9', ip] } },
    })
  for (const ip of ['127.0.0.1', '169.254.169.254', '0.0.0.0'])
    expect(await ask(ip)).toMatchObject({ status: 403, body: { violations: [{ path: 'ips[1]' }] } })
  expect((await ask('10.0.0.10')).body['detail']).toContain('certificate request')
})
