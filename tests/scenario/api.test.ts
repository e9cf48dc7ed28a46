import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { RateLimit } from '#functions/api/rate-limit.ts'
import { type Answer, openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, summary } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

const keyOf = async (role: string, more: object = {}) =>
  String((await centre.admin('POST', '/v1/operator-keys', { name: role, role, ...more })).body['key'])

/** Every problem has the members of RFC 9457, whatever it is about. */
function expectProblem(answer: Answer, status: number): void {
  expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json'])
  expect(answer.body).toMatchObject({
    type: expect.stringMatching(/^https:\/\/isthmus\.dev\/problems\/[a-z-]+$/),
    title: expect.any(String),
    status,
    detail: expect.any(String),
    instance: expect.stringMatching(/^\//),
  })
}

describe('problems', () => {
  test('carry every violation', async () => {
    const answer = await centre.admin('POST', '/v1/operator-keys', { name: '', role: 'root', expiresAt: 'soon' })
    expectProblem(answer, 400)
    const violations = answer.body['violations'] as { path: string }[]
    expect(violations.map(({ path }) => path)).toEqual(['name', 'role', 'expiresAt'])
  })

  test.each([
    ['an unknown route', 'GET', '/v1/nope', 404],
    ['a method that a route does not have', 'DELETE', '/v1/clusters', 404],
    ['an object that is not there', 'GET', '/v1/clusters/nobody', 404],
    ['a cursor from nowhere', 'GET', '/v1/clusters?cursor=abc', 400],
    ['a limit past 500', 'GET', '/v1/clusters?limit=501', 400],
    ['an If-Match that is no ETag', 'DELETE', '/v1/clusters/x', 400],
  ])('%s is one', async (_, method, path, status) => {
    expectProblem(await centre.admin(method, path, undefined, { 'if-match': 'abc' }), status)
  })

  test('malformed JSON, another content type and an unknown coding are told apart', async () => {
    const send = (text: string, headers: Record<string, string>) =>
      centre.call('POST', '/v1/clusters', { bearer: centre.adminKey, bytes: Buffer.from(text), headers })
    expectProblem(await send('{"name":', {}), 400)
    expect((await send('name: x', { 'content-type': 'text/yaml' })).body['detail']).toContain('application/json')
    expect((await send('{}', { 'content-encoding': 'br' })).body['detail']).toContain('send gzip or none')
    expect((await send('{}', { 'content-encoding': 'gzip' })).body['detail']).toContain('cannot be inflated')
  })

  test('every answer carries the security headers', async () => {
    for (const path of ['/healthz', '/v1/nope', '/docs', '/v1/clusters']) {
      const { headers } = await centre.call('GET', path)
      expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff'])
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    }
  })
})

describe('bodies', () => {
  test('more than the limit is refused, also when gzip hides it', async () => {
    const relay = await new TestRelay(centre, 'bodies').join()
    const big = Buffer.from(JSON.stringify({ ...relay.reporter.batch({}), pad: 'x'.repeat(600 * 1024) }))
    const path = `/v1/clusters/${relay.id}/sync`
    expectProblem(await centre.call('POST', path, { bearer: relay.bearer, bytes: big }), 413)
    const bomb = { bearer: relay.bearer, bytes: gzipSync(big), headers: { 'content-encoding': 'gzip' } }
    expectProblem(await centre.call('POST', path, bomb), 413)
    expectProblem(await centre.call('POST', '/v1/join', { body: { token: 'x'.repeat(20_000) } }), 413)
  })

  test('a gzip report is taken', async () => {
    const relay = await new TestRelay(centre, 'gzip').join()
    const bytes = gzipSync(
      JSON.stringify(relay.reporter.batch({ 'export/a/b': exported(), 'summary/a/b': summary(1) })),
    )
    const answer = await centre.call('POST', `/v1/clusters/${relay.id}/sync`, {
      ...{ bearer: relay.bearer, bytes, headers: { 'content-encoding': 'gzip' } },
    })
    expect(answer).toMatchObject({ status: 200, body: { appliedSeq: 1 } })
  })
})

describe('callers', () => {
  test('roles: a viewer reads, an operator writes, an admin makes keys', async () => {
    const [viewer, operator] = [await keyOf('viewer'), await keyOf('operator')]
    const as = async (bearer: string, method: string, path: string, body?: unknown) =>
      (await centre.call(method, path, { bearer, ...(body === undefined ? {} : { body }) })).status
    expect(await as(viewer, 'GET', '/v1/clusters')).toBe(200)
    expect(await as(viewer, 'POST', '/v1/clusters', { name: 'roles' })).toBe(403)
    expect(await as(operator, 'POST', '/v1/clusters', { name: 'roles' })).toBe(201)
    expect(await as(operator, 'GET', '/v1/operator-keys')).toBe(403)
    expect(await as(operator, 'POST', '/v1/pull', { proto: 'mesh-sync/1.0', have: [] })).toBe(403)
  })

  test('a key ends when it expires or is revoked, and the last admin key stays', async () => {
    const expiresAt = new Date(centre.clock.now + 60_000).toISOString()
    const [short, long] = [await keyOf('viewer', { expiresAt }), await keyOf('viewer')]
    const status = async (bearer: string) => (await centre.call('GET', '/v1/clusters', { bearer })).status
    expect([await status(short), await status(long)]).toEqual([200, 200])
    centre.clock.now += 60_000
    const keys = (await centre.admin('GET', '/v1/operator-keys')).body['items'] as { id: string; role: string }[]
    await centre.admin('DELETE', `/v1/operator-keys/${keys.at(-1)?.id}`)
    expect([await status(short), await status(long)]).toEqual([401, 401])
    const last = await centre.admin('DELETE', `/v1/operator-keys/${keys.find(({ role }) => role === 'admin')?.id}`)
    expectProblem(last, 409)
  })

  test('no key, a wrong one, a half one: 401 and nothing about why', async () => {
    for (const bearer of [undefined, 'isthmus_key_wrong', 'a.b.c', centre.adminKey.slice(0, -1)]) {
      const answer = await centre.call('GET', '/v1/clusters', { bearer })
      expectProblem(answer, 401)
      expect(answer.body['detail']).toBe('the credential is missing, wrong, expired or withdrawn')
    }
  })

  test('a cluster may do nothing but its own sync, pull and certificates', async () => {
    const relay = await new TestRelay(centre, 'curious').join()
    const document = await centre.call('GET', '/v1/openapi.json')
    const own = [
      '/v1/clusters/{id}/sync',
      '/v1/clusters/{id}/certificates',
      '/v1/pull',
      '/v1/watch',
      '/v1/join',
      '/v1/token',
      '/v1/spiffe-bundles/{trustDomain}',
    ]
    const paths = document.body['paths'] as Record<string, Record<string, unknown>>
    for (const [path, methods] of Object.entries(paths).filter(([p]) => !own.includes(p)))
      for (const method of Object.keys(methods)) {
        const real = path.replace(/\{\w+\}/g, 'curious')
        const answer = await centre.call(method.toUpperCase(), real, { bearer: relay.bearer })
        expect([method, path, answer.status]).toEqual([method, path, 403])
      }
    expect((await centre.call('GET', '/metrics', { bearer: relay.bearer })).status).toBe(403)
  })

  test('who asks too fast is told when to come back, and nobody else suffers', async () => {
    const slow = new RateLimit({ perSecond: 1, burst: 3 })
    const limited = await openTestCentre({ db: centre.db, dir: centre.dir, limits: { operators: slow } })
    const other = await keyOf('viewer')
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) statuses.push((await limited.admin('GET', '/v1/meshes')).status)
    expect(statuses).toEqual([200, 200, 200, 429])
    const refused = await limited.admin('GET', '/v1/meshes')
    expectProblem(refused, 429)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect((await limited.call('GET', '/v1/meshes', { bearer: other })).status).toBe(200)
    limited.clock.now += 1000
    expect((await limited.admin('GET', '/v1/meshes')).status).toBe(200)
  })

  test('guessing keys is bounded by address', async () => {
    const strangers = new RateLimit({ perSecond: 1, burst: 2 })
    const limited = await openTestCentre({ db: centre.db, dir: centre.dir, limits: { strangers } })
    const guess = async () => (await limited.call('GET', '/v1/meshes', { bearer: 'isthmus_key_guess' })).status
    expect((await limited.admin('GET', '/v1/meshes')).status).toBe(200)
    expect([await guess(), await guess(), await guess()]).toEqual([401, 401, 429])
    const looks = vi.spyOn(limited.centre.db, 'read')
    onTestFinished(() => looks.mockRestore())
    expect(await guess()).toBe(429)
    expect(looks).not.toHaveBeenCalled()
    expect((await limited.admin('GET', '/v1/meshes')).status).toBe(200)
  })

  test('anybody may ask whether it is ready, and the database is asked once a second at most', async () => {
    const looks = vi.spyOn(centre.centre.db, 'read')
    onTestFinished(() => looks.mockRestore())
    for (let n = 0; n < 20; n++)
      expect((await centre.call('GET', '/readyz')).body).toMatchObject({ status: 'ok', store: 'ok' })
    expect(looks.mock.calls.length).toBeLessThan(5)
  })
})

describe('objects', () => {
  test('have id, name, revision, createdAt and conditions, and the ETag is the revision', async () => {
    const made = await centre.admin('POST', '/v1/clusters', { name: 'object', network: 'n1', region: 'r1' })
    expect(made).toMatchObject({ status: 201, body: { name: 'object', revision: 1, network: 'n1', region: 'r1' } })
    expect(made.body['conditions']).toMatchObject([{ type: 'Joined', status: 'False', reason: 'Expected' }])
    const again = await centre.admin('GET', '/v1/clusters/object', undefined, { 'if-none-match': '"1"' })
    expect(again.status).toBe(304)
    expectProblem(await centre.admin('DELETE', '/v1/clusters/object', undefined, { 'if-match': '"9"' }), 412)
    expect((await centre.admin('DELETE', '/v1/clusters/object', undefined, { 'if-match': '"1"' })).status).toBe(200)
    expect((await centre.admin('DELETE', '/v1/clusters/object')).body).toMatchObject({ state: 'left', revision: 2 })
  })

  test('a second cluster of a name is a conflict, also when both come at once; PUT is not', async () => {
    const both = await Promise.all([1, 2].map(() => centre.admin('POST', '/v1/clusters', { name: 'twice' })))
    expect(both.map(({ status }) => status).toSorted()).toEqual([201, 409])
    expect((await centre.admin('PUT', '/v1/clusters/twice', {})).status).toBe(200)
  })

  test.each(['East', 'a.b', '-a', 'a'.repeat(64), ''])('the name "%s" is refused', async (name) => {
    expectProblem(await centre.admin('POST', '/v1/clusters', { name }), 400)
  })

  test('the same Idempotency-Key gives the same answer, and no other request', async () => {
    const send = (body: object, key: string) => centre.admin('POST', '/v1/clusters', body, { 'idempotency-key': key })
    const first = await send({ name: 'once' }, 'k1')
    expect((await send({ name: 'once' }, 'k1')).body).toEqual(first.body)
    expectProblem(await send({ name: 'other' }, 'k1'), 409)
    expectProblem(await send({ name: 'once' }, 'k2'), 409)
    const key = (body: object) => centre.admin('POST', '/v1/operator-keys', body, { 'idempotency-key': 'k1' })
    const made = await key({ name: 'ci', role: 'viewer' })
    expect((await key({ name: 'ci', role: 'viewer' })).body).toEqual(made.body)
    expectProblem(await key({ name: 'ci', role: 'admin' }), 409)
  })

  test('pages give each object once, in order, and end', async () => {
    for (let i = 0; i < 7; i++) await centre.admin('POST', '/v1/clusters', { name: `page-${i}` })
    const whole = (await centre.admin('GET', '/v1/clusters')).body['items'] as { name: string }[]
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const { body } = await centre.admin('GET', `/v1/clusters?limit=3${cursor}`)
      const items = body['items'] as { name: string }[]
      expect(items.length).toBeLessThanOrEqual(3)
      seen.push(...items.map(({ name }) => name))
      if (body['nextCursor'] === undefined) break
      cursor = `&cursor=${encodeURIComponent(String(body['nextCursor']))}`
    }
    expect(seen).toEqual(whole.map(({ name }) => name))
    const foreign = (await centre.admin('GET', '/v1/audit-events?limit=1')).body['nextCursor']
    expectProblem(await centre.admin('GET', `/v1/clusters?cursor=${foreign}`), 400)
  })

  test('the audit log pages from the newest, and holds no secret', async () => {
    const one = (await centre.admin('GET', '/v1/audit-events?limit=2')).body
    const two = (await centre.admin('GET', `/v1/audit-events?limit=2&cursor=${one['nextCursor']}`)).body
    const ids = [...(one['items'] as { id: string }[]), ...(two['items'] as { id: string }[])].map(({ id }) => id)
    expect(ids.toSorted().reverse()).toEqual(ids)
    const all = JSON.stringify((await centre.admin('GET', '/v1/audit-events?limit=500')).body)
    expect(all).not.toMatch(/isthmus_key_|isthmus_join_|PRIVATE/)
  })

  test('authorities show certificates and no keys', async () => {
    const { items } = (await centre.admin('GET', '/v1/authorities')).body as { items: Record<string, unknown>[] }
    expect(items.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['root active', 'control-plane active'])
    expect(JSON.stringify(items)).not.toMatch(/PRIVATE|keyRef|\.key/)
  })

  test('a cluster that says nothing for minutes is shown as silent, and its services stay', async () => {
    const relay = await new TestRelay(centre, 'silent').join()
    await relay.sync({ cluster: facts('net-silent'), 'export/quiet/one': exported() }, { complete: true })
    centre.clock.now += 10 * 60_000
    const { body } = await centre.admin('GET', '/v1/clusters/silent')
    expect(body['conditions']).toContainEqual(
      expect.objectContaining({ type: 'Heard', status: 'Unknown', reason: 'Silent' }),
    )
    const services = await centre.admin('GET', '/v1/services?service=quiet/one')
    expect(services.body['items']).toHaveLength(1)
  })
})

describe('the document', () => {
  test('is OpenAPI 3.1: every reference resolves, every operation names its credential and its problems', async () => {
    const { body } = await centre.call('GET', '/v1/openapi.json')
    expect(body['openapi']).toBe('3.1.0')
    const text = JSON.stringify(body)
    const { schemas, securitySchemes } = body['components'] as Record<string, Record<string, unknown>>
    for (const [, name = ''] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      expect(schemas).toHaveProperty([name])
    expect(Object.keys(securitySchemes ?? {}).toSorted()).toEqual(['clusterToken', 'operatorKey'])
    const open = ['/v1/join', '/v1/token', '/v1/spiffe-bundles/{trustDomain}']
    for (const [path, methods] of Object.entries(body['paths'] as Record<string, Record<string, Operation>>))
      for (const [method, operation] of Object.entries(methods)) {
        const where = `${method} ${path}`
        expect([where, operation.security === undefined]).toEqual([where, open.includes(path)])
        expect([where, Object.keys(operation.responses)]).toEqual([
          where,
          expect.arrayContaining(['400', '401', '429']),
        ])
        const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
        const declared = (operation.parameters ?? []).filter((p) => p.in === 'path').map((p) => p.name)
        expect([where, declared]).toEqual([where, named])
      }
  })

  test('describes the WebSocket of hints', async () => {
    const paths = (await centre.call('GET', '/v1/openapi.json')).body['paths'] as Record<string, { get?: Operation }>
    expect(paths['/v1/watch']?.get?.responses).toHaveProperty('101')
    expect(paths['/v1/watch']?.get?.security).toEqual([{ clusterToken: [] }])
  })

  test('the page names every route and asks nobody else for anything', async () => {
    const document = await centre.call('GET', '/v1/openapi.json')
    const page = String((await centre.call('GET', '/docs')).body['text'])
    for (const path of Object.keys(document.body['paths'] as object)) expect(page).toContain(path)
    expect(page).not.toMatch(/<script|src=|@import|url\(/)
    expect([...page.matchAll(/href="([^"]*)"/g)].filter(([, to = '']) => !/^[#/]/.test(to))).toEqual([])
  })

  test('metrics are for operators, and count', async () => {
    expectProblem(await centre.call('GET', '/metrics'), 401)
    const text = String((await centre.admin('GET', '/metrics')).body['text'])
    for (const name of [
      'change_to_published_seconds_bucket',
      'clusters{state="joined"}',
      'certificate_not_after_seconds{kind="root"}',
    ])
      expect(text).toContain(`isthmus_centre_${name}`)
  })
})

type Operation = {
  readonly security?: unknown
  readonly responses: object
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
}
