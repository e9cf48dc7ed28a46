import '#functions/api/openapi-first.ts'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServedCentre, type ServeSettings, serveCentre } from '#functions/serve-centre.ts'
import { joinCentre } from '#gateway/uplink/join.ts'
import { assertionOf, loadMembership, loadRelayKey, type Membership } from '#gateway/uplink/membership.ts'
import type { Received } from '#gateway/uplink/received.ts'
import { openUplink, type Uplink, type UplinkSettings } from '#gateway/uplink/uplink.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { giveDatabase } from '#tests/support/database-template.ts'
import { type FlakyLine, freePort, openFlakyLine } from '#tests/support/flaky-line.ts'
import { exported, facts, silentLog, summary } from '#tests/support/stores.ts'

/** An answer of the centre's API to its operator. */
export type ApiAnswer = { readonly status: number; readonly body: Readonly<Record<string, unknown>> }

export type TestCentre = {
  /** What relays dial: the line's address. */
  readonly url: string
  readonly line: FlakyLine
  readonly dir: string
  readonly ca: () => string
  served(): ServedCentre
  api(method: string, path: string, body?: unknown): Promise<ApiAnswer>
  /** Makes the cluster where it is not there, and a join token for it. */
  token(cluster: string): Promise<string>
  stop(): Promise<void>
  /** Starts it again on the same directory (or on what `change` made of it meanwhile). */
  start(): Promise<void>
  end(): Promise<void>
}

/** A centre in this process with the embedded database, behind a line that fails as it is told. */
export async function startTestCentre(more: Partial<ServeSettings> = {}): Promise<TestCentre> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-channel-'))
  const port = await freePort()
  const line = await openFlakyLine(port)
  const url = `https://127.0.0.1:${line.port}`
  let served: ServedCentre | undefined
  await giveDatabase(join(dir, 'centre'))
  const start = async () => {
    served = await serveCentre({
      ...{ listen: { host: '127.0.0.1', port }, url, data: join(dir, 'centre'), mesh: 'mesh1', version: '0.1.0' },
      ...{ log: silentLog, env: {}, scryptCost: 16_384, ...more },
    })
  }
  await start()
  const centre: TestCentre = {
    ...{ url, line, dir, start },
    ca: () => readFileSync(running().caFile, 'utf8'),
    served: running,
    api: (method, path, body) =>
      call({
        ...{ url: `https://127.0.0.1:${port}${path}`, method, body, ca: readFileSync(running().caFile, 'utf8') },
        bearer: readFileSync(running().keyFile, 'utf8').trim(),
      }),
    token: async (cluster) => {
      await centre.api('POST', '/v1/clusters', { name: cluster })
      const { status, body } = await centre.api('POST', `/v1/clusters/${cluster}/join-tokens`)
      if (status !== 201) throw new Error(`no token for ${cluster}: ${JSON.stringify(body)}`)
      return String(body['token'])
    },
    stop: async () => {
      const old = served
      served = undefined
      await old?.stop()
    },
    end: async () => {
      line.cut()
      await served?.stop()
      await line.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return centre

  function running(): ServedCentre {
    if (!served) throw new Error('the centre is stopped')
    return served
  }
}

/** One request with JSON, over a connection of its own. */
export function call(asked: {
  readonly url: string
  readonly method: string
  readonly ca: string
  readonly bearer?: string
  readonly body?: unknown
}): Promise<ApiAnswer> {
  const text = asked.body === undefined ? undefined : JSON.stringify(asked.body)
  const headers = {
    ...(asked.bearer === undefined ? {} : { authorization: `Bearer ${asked.bearer}` }),
    ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  }
  return new Promise((resolve, reject) => {
    const outgoing = request(asked.url, { method: asked.method, ca: asked.ca, headers, agent: false }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('error', reject)
      answer.on('end', () => {
        const said = Buffer.concat(parts).toString('utf8')
        resolve({
          status: answer.statusCode ?? 0,
          body: said.startsWith('{') ? (JSON.parse(said) as ApiAnswer['body']) : {},
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(text)
  })
}

/** A relay's line to the centre, without the rest of a relay. */
export type TestMember = {
  readonly name: string
  readonly dir: string
  readonly membership: Membership
  readonly uplink: () => Uplink
  /** What the uplink told, in order: one entry a change, the whole state each time. */
  readonly told: Received[]
  readonly logged: string[]
  /** Ends the uplink and opens another one on the same directory. */
  reopen(): Uplink
  end(): void
}

export const joinWith = (token: string, cluster: string, dir: string): Promise<Membership> =>
  joinCentre({ token, dir, cluster, network: `net-${cluster}`, region: 'eu-1', version: '0.1.0' })

/** Joins a cluster and opens its uplink, which is not started yet. */
export async function joinMember(
  centre: TestCentre,
  name: string,
  more: Partial<UplinkSettings> = {},
): Promise<TestMember> {
  const dir = join(centre.dir, name)
  const membership = loadMembership(dir) ?? (await joinWith(await centre.token(name), name, dir))
  const told: Received[] = []
  const logged: string[] = []
  const note = (level: string) => (given: object, text: string) => {
    logged.push(`${level} ${text} ${JSON.stringify(given)}`)
  }
  const open = () =>
    openUplink({
      ...{ membership, dir, version: '0.1.0', log: { info: note('info'), warn: note('warn') } },
      key: loadRelayKey(dir, membership),
      onReceived: (received) => told.push(received),
      ...more,
    })
  let uplink = open()
  return {
    ...{ name, dir, membership, told, logged },
    uplink: () => uplink,
    reopen: () => {
      uplink.stop()
      uplink = open()
      return uplink
    },
    end: () => uplink.stop(),
  }
}

/** Speaks to the centre's doors with the token of a member, past its uplink. */
export async function speakAs(
  centre: TestCentre,
  member: TestMember,
): Promise<(path: string, body: unknown) => Promise<ApiAnswer>> {
  const { membership, dir } = member
  const ca = centre.ca()
  const now = centre.served().centre.now()
  const assertion = assertionOf(membership, loadRelayKey(dir, membership), now, randomUUID())
  const { body } = await call({ url: `${centre.url}/v1/token`, method: 'POST', ca, body: { assertion } })
  const bearer = String(body['accessToken'])
  return (path, said) => call({ url: `${centre.url}${path}`, method: 'POST', ca, bearer, body: said })
}

/** The report of a cluster that exports these services, with their ready counts. */
export const reportOn = (cluster: string, services: Readonly<Record<string, number>>): Map<string, Json> =>
  new Map<string, Json>([
    ['cluster', facts(`net-${cluster}`)],
    ['gateways', { gateways: [{ address: '127.0.1.1', port: 15443, state: 'ready' }] }],
    ...Object.entries(services).flatMap(([name, ready]): [string, Json][] => [
      [`export/shop/${name}`, exported()],
      [`summary/shop/${name}`, summary(ready)],
    ]),
  ])

/** Ready counts by service, as one cluster knows them of another one. */
export function readyOf(received: Received, source: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [stream, { items }] of received)
    if (stream.startsWith(`ep/${source}/`))
      for (const [key, body] of items)
        if (key !== 'gateways') {
          const said = body as { readonly counts: readonly { readonly ready: number }[] }
          counts[key.replace('shop/', '')] = said.counts.reduce((sum, one) => sum + one.ready, 0)
        }
  return counts
}

/** Services that the config of a cluster lets it call. */
export const importsOf = (received: Received, cluster: string): string[] =>
  [...(received.get(`cfg/${cluster}`)?.items.keys() ?? [])]
    .filter((key) => key.startsWith('import/'))
    .map((key) => key.replace('import/shop/', ''))
    .sort()
