import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, randomUUID, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inProcessBus } from '#control/bus.ts'
import type { Centre } from '#control/centre.ts'
import type { FirstSettings } from '#control/first-settings.ts'
import { openCentre } from '#control/open-centre.ts'
import { newPublishMemo, publish } from '#control/publish.ts'
import type { Database } from '#control/store/database.ts'
import { openApi } from '#functions/api/app.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { openMetrics } from '#functions/api/metrics.ts'
import { RateLimit } from '#functions/api/rate-limit.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { LoadReport } from '#mesh/model/load.ts'
import { thumbprintOf } from '#mesh/wire/assertion.ts'
import type { PublicJwk } from '#mesh/wire/join.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import type { PullAnswer } from '#mesh/wire/pull.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { type Held, openTestDatabase, Reporter, silentLog, take } from '#tests/support/stores.ts'

/** What came back: `body` is the parsed JSON. */
export type Answer = { readonly status: number; readonly body: Record<string, unknown>; readonly headers: Headers }
export type Send = {
  readonly body?: unknown
  readonly bytes?: Uint8Array
  readonly bearer?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export const centreUrl = 'https://centre.test:7400'

/** The doors of a centre in this process, its clock in hand, its publisher worked by hand (`settle`). */
export type TestCentre = {
  readonly centre: Centre
  readonly api: Api
  readonly door: Door
  readonly db: Database
  readonly dir: string
  readonly adminKey: string
  readonly clock: { now: number }
  call(method: string, path: string, send?: Send): Promise<Answer>
  /** As the first administrator. */
  admin(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** Publishes until nothing waits; the first time, and with `always`, it compares everything. */
  settle(always?: boolean): Promise<void>
  close(): Promise<void>
}

const start = Date.parse('2026-03-01T12:00:00Z')

/** Opens a centre; with `dir` of an earlier one, the same again. */
export async function openTestCentre(
  more: {
    readonly db?: Database
    readonly dir?: string
    readonly limits?: Partial<Door['limits']>
    readonly first?: FirstSettings
    readonly rootCa?: string
  } = {},
): Promise<TestCentre> {
  const dir = more.dir ?? mkdtempSync(join(tmpdir(), 'centre-'))
  const db = more.db ?? (await openTestDatabase())
  const clock = { now: start }
  const metrics = openMetrics()
  const centre = await openCentre({
    ...{ db, log: silentLog, measures: metrics.measures, mesh: 'mesh1', url: centreUrl, env: {} },
    now: () => clock.now,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    reservedIps: ['127.0.0.1'],
    bus: inProcessBus((fault) => {
      throw fault
    }),
    keysDir: join(dir, 'keys'),
    adminKeyFile: join(dir, 'admin.key'),
    scryptCost: 2 ** 14,
    rootCa: more.rootCa,
    ...more.first,
  })
  const wide = () => new RateLimit({ perSecond: 1000, burst: 10_000 })
  const door: Door = {
    ...{ centre, metrics, version: '0.1.0', caSha256: () => 'ab'.repeat(32), ready: () => true, attention: () => [] },
    authority: () => undefined,
    servingEnd: () => new Date(clock.now),
    limits: { operators: wide(), clusters: wide(), strangers: wide(), ...more.limits },
  }
  const api = openApi(door)
  const adminKey = readFileSync(join(dir, 'admin.key'), 'utf8').trim()
  const memo = newPublishMemo()
  let compared = false
  const call: TestCentre['call'] = async (method, path, send = {}) => {
    const bytes = send.bytes ?? (send.body === undefined ? undefined : Buffer.from(JSON.stringify(send.body)))
    const headers = new Headers(send.headers)
    if (bytes && !headers.has('content-type')) headers.set('content-type', 'application/json')
    if (send.bearer !== undefined) headers.set('authorization', `Bearer ${send.bearer}`)
    const body = bytes === undefined ? null : new Uint8Array(bytes)
    const response = await api.request(`${centreUrl}${path}`, { method, headers, body })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      body: text.startsWith('{') ? JSON.parse(text) : { text },
    }
  }
  return {
    ...{ centre, api, door, db, dir, adminKey, clock, call },
    admin: (method, path, body, headers) =>
      call(method, path, {
        bearer: adminKey,
        ...(body === undefined ? {} : { body }),
        ...(headers ? { headers } : {}),
      }),
    settle: async (always = !compared) => {
      compared = true
      await publish(centre, memo, always)
      for (let left = 10; (await publish(centre, memo, false)).published > 0; left--)
        if (left === 0) throw new Error('publishing does not settle')
    },
    close: async () => {
      if (!more.db) await db.close()
      if (!more.dir) rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** The centre's side of a relay: its key, its credentials and what it holds. */
export class TestRelay {
  readonly test: TestCentre
  readonly name: string
  readonly url: string
  readonly key: KeyObject
  readonly jwk: PublicJwk
  readonly reporter = new Reporter()
  readonly held = new Map<string, Held>()
  id = ''
  trustDomain = ''
  generation = 0
  bearer = ''
  #loads = 0

  constructor(test: TestCentre, name: string, url = centreUrl) {
    this.test = test
    this.name = name
    this.url = url
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.key = createPrivateKey(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const { x = '', y = '' } = pair.publicKey.export({ format: 'jwk' })
    this.jwk = { kty: 'EC', crv: 'P-256', x, y }
  }

  /** Announces the cluster where it is new, and gives the secret in a fresh join token. */
  async invite(): Promise<string> {
    await this.test.admin('PUT', `/v1/clusters/${this.name}`, {})
    const made = await this.test.admin('POST', `/v1/clusters/${this.name}/join-tokens`)
    return parseJoinToken(String(made.body['token'])).token
  }

  async redeem(token: string, more: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const body = {
      ...{ proto: meshSyncText, token, cluster: this.name, key: this.jwk, network: `net-${this.name}` },
      ...{ region: 'eu-1', relayVersion: '0.1.0', ...more },
    }
    const answer = await this.test.call('POST', '/v1/join', { body })
    if (answer.status === 200) {
      this.id = String(answer.body['clusterId'])
      this.trustDomain = String(answer.body['trustDomain'])
      this.generation = Number(answer.body['generation'])
    }
    return answer
  }

  assertion(more: Readonly<Record<string, unknown>> = {}, kid = thumbprintOf(this.jwk)): string {
    const seconds = Math.floor(this.test.clock.now / 1000)
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = { iss: this.id, sub: this.id, aud: this.url, jti: randomUUID(), iat: seconds, exp: seconds + 60 }
    const text = `${part({ alg: 'ES256', typ: 'JWT', kid })}.${part({ ...claims, ...more })}`
    const signature = sign('sha256', Buffer.from(text), { key: this.key, dsaEncoding: 'ieee-p1363' })
    return `${text}.${signature.toString('base64url')}`
  }

  async authenticate(assertion = this.assertion()): Promise<Answer> {
    const answer = await this.test.call('POST', '/v1/token', { body: { assertion } })
    if (answer.status === 200) this.bearer = String(answer.body['accessToken'])
    return answer
  }

  /** Invited, joined and with a token. */
  async join(more: Readonly<Record<string, unknown>> = {}): Promise<this> {
    const joined = await this.redeem(await this.invite(), more)
    const token = await this.authenticate()
    if (joined.status !== 200 || token.status !== 200)
      throw new Error(`${this.name} did not join: ${JSON.stringify([joined.body, token.body])}`)
    return this
  }

  sync(
    changes: Readonly<Record<string, Json | undefined>>,
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Answer> {
    const body = { ...this.reporter.batch(changes), ...more }
    return this.test.call('POST', `/v1/clusters/${this.id}/sync`, { bearer: this.bearer, body })
  }

  /** What its callers did in the last ten seconds. */
  load(said: Partial<LoadReport>): Promise<Answer> {
    this.#loads += 1
    const none = { rows: [], gateways: [], latencies: [], shares: [], below: [], health: [], acked: [] }
    const body = {
      ...{ epoch: 'e'.repeat(16), seq: this.#loads, at: this.test.clock.now, windowMs: 10_000, adv: null, cfg: null },
      ...{ proxies: { measured: 1, notMeasured: 0 }, ...none, ...said },
    }
    return this.test.call('PUT', `/v1/clusters/${this.id}/load`, { bearer: this.bearer, body })
  }

  /** Pulls from where it stands until it is level; gives the streams that moved. */
  async pull(): Promise<string[]> {
    const moved: string[] = []
    for (let rounds = 0; rounds < 50; rounds++) {
      const have = [...this.held].map(([stream, { epoch, rev }]) => [stream, epoch, rev])
      const body = { proto: meshSyncText, have }
      const answer = await this.test.call('POST', '/v1/pull', { bearer: this.bearer, body })
      if (answer.status !== 200) throw new Error(`pull of ${this.name}: ${JSON.stringify(answer.body)}`)
      const { streams, gone } = answer.body as unknown as PullAnswer
      for (const page of streams) take(this.held, [page])
      for (const stream of gone) this.held.delete(stream)
      if (streams.length === 0) return moved
      moved.push(...streams.map((page) => page.stream))
    }
    throw new Error(`pull of ${this.name} never ends`)
  }

  /** Everything it holds, as text: what is not in here, it was never told. */
  text(): string {
    const full = [...this.held].filter(([, { items }]) => items.size > 0)
    return JSON.stringify(full.map(([stream, { items }]) => [stream, [...items]]))
  }
}
