import { request } from 'node:http'
import { connect } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import type { Leaf } from '#mesh/translate/testdata/real-envoy.ts'
import { makeRoot } from '#tests/support/authorities.ts'
import { type Border, drainSeconds, type EnvoyName, startServedBorder } from '#tests/support/served-border.ts'
import { eventually } from '#tests/support/until.ts'

let border: Border
beforeAll(async () => {
  border = await startServedBorder({ consumers: { reviews: ['a'], db: ['a'] } })
}, 30_000)
afterAll(() => border?.stop())

/** Something that is open from the caller in cluster a to the application in cluster b. */
type Line = { readonly what: string; readonly say: (text: string) => Promise<void>; readonly end: () => void }

/** Says a text and waits until the same comes back; throws when the line was cut meanwhile. */
function echoing(what: string, line: Duplex | Readable, write: (text: string) => void): Line {
  let heard = ''
  let cut: string | undefined
  let look = (): void => undefined
  line.on('data', (data: Buffer) => {
    heard += data.toString()
    look()
  })
  for (const event of ['error', 'end', 'close'])
    line.on(event, () => {
      cut ??= event
      look()
    })
  return {
    what,
    end: () => line.destroy(),
    say: (text) =>
      new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`${what}: no echo of ${text} in 3 s`)), 3000)
        look = () => {
          if (!heard.includes(text) && cut === undefined) return
          clearTimeout(timer)
          if (cut === undefined) done()
          else fail(new Error(`${what} was cut (${cut})`))
        }
        if (cut === undefined) write(text)
        look()
      }),
  }
}

const openTcp = async (host: string): Promise<Line> => {
  const socket = connect({ host, port: 7000 })
  return echoing('a TCP connection', socket, (text) => socket.write(text))
}

const openPost = (host: string): Promise<Line> =>
  new Promise((done, fail) => {
    const call = request({ host, port: 9080, method: 'POST', headers: { host: 'reviews' }, agent: false })
    call.on('response', (answer) => {
      if (answer.statusCode === 200) done(echoing('a slow POST', answer, (text) => call.write(text)))
      else fail(new Error(`answered ${answer.statusCode}`))
    })
    call.on('error', fail)
    call.write('begin')
  })

const openWebSocket = (host: string): Promise<Line> =>
  new Promise((done, fail) => {
    const headers = { host: 'reviews', connection: 'Upgrade', upgrade: 'websocket' }
    const call = request({ host, port: 9080, headers, agent: false })
    call.on('upgrade', (_, socket) => done(echoing('a WebSocket', socket, (text) => socket.write(text))))
    call.on('response', (answer) => fail(new Error(`answered ${answer.statusCode}`)))
    call.on('error', fail)
    call.end()
  })

const openLines = async (cluster: 'a' | 'c'): Promise<readonly Line[]> => {
  const { http, tcp } = border.at.out[cluster]
  const lines = [await openTcp(tcp), await openPost(http), await openWebSocket(http)]
  for (const line of lines) await line.say('first')
  return lines
}

/** Requests on one TLS connection of its own to the pod in b: the status of each, or why there is none. */
async function knock(leaf: Leaf): Promise<{ readonly ask: () => Promise<string>; readonly end: () => void }> {
  const socket: TLSSocket = connectTls({
    host: border.at.server,
    port: 9080,
    ca: border.root,
    checkServerIdentity: () => undefined,
    cert: leaf.chain,
    key: leaf.key,
    minVersion: 'TLSv1.3',
  })
  let fault: string | undefined
  let told: ((text: string) => void) | undefined
  const tell = (text: string) => told?.(text)
  socket.on('data', (data: Buffer) => tell(data.toString().slice(9, 12)))
  for (const event of ['error', 'close'])
    socket.on(event, () => {
      fault = 'refused'
      tell(fault)
    })
  return {
    end: () => socket.destroy(),
    ask: () =>
      new Promise((done) => {
        told = done
        if (fault) done(fault)
        else socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
      }),
  }
}
const knockOnce = async (leaf: Leaf): Promise<string> => {
  const line = await knock(leaf)
  const said = await line.ask()
  line.end()
  return said
}

/** Every line is used until well past the drain time, and not one is cut. */
async function goOn(lines: readonly Line[]): Promise<void> {
  for (const end = performance.now() + (drainSeconds + 1) * 1000; performance.now() < end; await delay(250))
    for (const line of lines) await line.say(`at ${performance.now()}`)
  for (const line of lines) line.end()
}

/** Resources sent per type while `work` ran, over all proxies; types of which none was sent are left out. */
async function sentBy(work: () => Promise<void> | void): Promise<Record<string, number>> {
  const before = { ...border.relay.server.observables().resources }
  await work()
  await border.settled()
  const after = border.relay.server.observables().resources
  return Object.fromEntries(
    Object.entries(typeUrls).flatMap(([short, type]) => {
      const sent = (after[type] ?? 0) - (before[type] ?? 0)
      return sent > 0 ? [[short, sent]] : []
    }),
  )
}

/** Listeners and clusters that an Envoy replaced since it began. */
async function replaced(name: EnvoyName): Promise<readonly (readonly [string, number])[]> {
  const filter = '^(listener_manager.listener_(modified|in_place_updated)|cluster_manager.cluster_modified)$'
  return [...(await border.stats(name, filter))].filter(([, value]) => value > 0)
}
const nothingReplaced = async () => {
  for (const name of ['caller-a', 'caller-c', 'gateway', 'server'] as const)
    expect([name, await replaced(name)]).toEqual([name, []])
}

test('admission of one more cluster to one TCP port is one resource, a secret, to one Envoy', async () => {
  expect(await sentBy(() => border.say({ consumers: { reviews: ['a'], db: ['a', 'c'] } }))).toEqual({ secret: 1 })
  expect(border.relay.nacks).toEqual([])
  await nothingReplaced()
})

test('what is open goes on while a cluster is admitted and the roots change, past the drain time', async () => {
  const lines = await openLines('a')
  const leaf = await border.leafOf('c', 'web')
  expect(await knockOnce(leaf)).toBe('refused')
  const admitted = await sentBy(async () => {
    border.say({ consumers: { reviews: ['a', 'c'], db: ['a', 'c'] } })
    let said = 'refused'
    while (said === 'refused') said = await knockOnce(leaf)
    expect(said, 'whoever passes the handshake is answered').toBe('200')
  })
  expect(admitted).toEqual({ route: 1, secret: 1 })
  const roots = [border.root, (await makeRoot()).pem]
  const rooted = await sentBy(() => border.say({ roots }))
  // Both callers' and the server's roots, its two ports, and the gateway's probe port.
  expect(rooted).toEqual({ secret: 6 })
  await sentBy(() => border.say({ members: ['a', 'b', 'c', 'd'] }))
  await goOn(lines)
  await nothingReplaced()
  expect(border.relay.nacks).toEqual([])
})

test('a withdrawn domain: its requests get 403 on an old connection, its handshakes are refused, nobody else notices', async () => {
  const lines = await openLines('a')
  const [old, bystander] = [await knock(await border.leafOf('c', 'web')), await knock(await border.leafOf('a', 'web'))]
  expect([await old.ask(), await bystander.ask()]).toEqual(['200', '200'])
  const withdrawnAt = performance.now()
  border.say({ consumers: { reviews: ['a'], db: ['a'] } })
  let deniedAt = 0
  while (deniedAt === 0 && performance.now() - withdrawnAt < 3000)
    if ((await old.ask()) === '403') deniedAt = performance.now()
  await border.settled()
  expect(deniedAt).toBeGreaterThan(0)
  expect(deniedAt - withdrawnAt).toBeLessThan(1000)
  expect(await old.ask()).toBe('403')
  expect(await knockOnce(await border.leafOf('c', 'web'))).toBe('refused')
  expect(await bystander.ask()).toBe('200')
  expect(await knockOnce(await border.leafOf('a', 'web'))).toBe('200')
  await goOn(lines)
  expect([await old.ask(), await bystander.ask()]).toEqual(['403', '200'])
  for (const line of [old, bystander]) line.end()
  await nothingReplaced()
})

test('Envoys that come back to a relay are sent nothing', async () => {
  const { server } = border.relay
  const sent = await sentBy(async () => {
    server.cut()
    await eventually(5000, 'all are gone', () => server.observables().streams === 0)
    await eventually(10_000, 'all are back', () => {
      const { proxies } = server.status()
      return proxies.length === 4 && proxies.every(({ types }) => types['secret'] && types['listener'])
    })
  })
  expect(sent).toEqual({})
})

test('one more exporter replaces the caller’s clusters, and what is open on them goes on', async () => {
  const lines = await openLines('a')
  expect(await sentBy(() => border.say({ others: ['d'] }))).toMatchObject({ cluster: 2 })
  await goOn(lines)
  expect(await replaced('caller-a')).toEqual([['cluster_manager.cluster_modified', 2]])
})
