import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Leaf } from '#mesh/translate/testdata/real-envoy.ts'
import type { Holder } from '#tests/support/authorities.ts'
import { knock, knockOnce, type Line, openLines } from '#tests/support/border-lines.ts'
import { foreignLeaf, foreignRoot } from '#tests/support/foreign-mesh.ts'
import { type Border, drainSeconds, startServedBorder } from '#tests/support/served-border.ts'
import { eventually } from '#tests/support/until.ts'

/**
 * Revocations by the bundle alone: nothing is compiled anew. Everything drains within `drainSeconds` here; with the 20 s
 * that the program beside Envoy sets, what took `drainSeconds` and a second takes 21.
 */
let border: Border
beforeAll(async () => {
  border = await startServedBorder({ revoked: [] })
}, 30_000)
afterAll(() => border?.stop())

const newMsMax = 2000
/** The promise is 30 s, of which 20 are the drain time of the program beside Envoy. */
const oldMsMax = drainSeconds * 1000 + 10_000

const get = (host: string): Promise<number> =>
  new Promise((done) => {
    const call = request({ host, port: 9080, headers: { host: 'reviews' }, agent: false, timeout: 5000 }, (answer) => {
      answer.resume()
      answer.on('end', () => done(answer.statusCode ?? 0))
    })
    call.on('timeout', () => call.destroy())
    call.on('error', () => done(0))
    call.end()
  })

/** Calls again and again, two at a time, until it is ended: every status that came. */
function keepCalling(host: string): () => Promise<ReadonlyMap<number, number>> {
  const seen = new Map<number, number>()
  let isOver = false
  const loop = async () => {
    while (!isOver) {
      const status = await get(host)
      seen.set(status, (seen.get(status) ?? 0) + 1)
      await delay(5)
    }
  }
  const loops = [loop(), loop()]
  return async () => {
    isOver = true
    await Promise.all(loops)
    return seen
  }
}

/** How long after `since` a leaf was let in for the last time: it knocks until it was refused for a second. */
async function lastLetIn(leaf: Leaf, since: number): Promise<number> {
  let last = 0
  for (let refusedFrom = performance.now(); performance.now() - refusedFrom < 1000; await delay(5)) {
    const began = performance.now()
    if ((await knockOnce(border, leaf)) !== '200') continue
    refusedFrom = performance.now()
    last = Math.max(last, began - since)
    if (began - since > 10_000) break
  }
  return last
}

const allCut = (lines: readonly Pick<Line, 'cutAt'>[]) =>
  eventually(oldMsMax, 'everything old is closed', () => lines.every((line) => line.cutAt() !== undefined))

test('a revoked cluster: no new handshake, everything old closed in time, and no call of another cluster fails', async () => {
  const others = keepCalling(border.at.out.a.http)
  const lines = await openLines(border, 'c')
  const leaf = await border.leafOf('c', 'web')
  const [idle, busy] = [await knock(border, leaf), await knock(border, leaf)]
  expect([await idle.ask(), await busy.ask()]).toEqual(['200', '200'])
  const at = performance.now()
  border.say({ revoked: ['c.mesh1 c 1'] })
  const fresh = lastLetIn(leaf, at)
  let last = ''
  while (last !== '403' && last !== 'refused' && performance.now() - at < 10_000) last = await busy.ask()
  expect(performance.now() - at, 'the next request on an old connection is refused').toBeLessThan(newMsMax)
  expect(await fresh).toBeLessThan(newMsMax)
  await allCut([...lines, idle, busy])
  expect([...(await others()).keys()]).toEqual([200])
  expect(border.relay.nacks).toEqual([])
  // What a chain replaced under another cluster's long connections is opened again at once.
  for (const line of await openLines(border, 'a')) line.end()
})

test('taken back: the cluster is served again, and no chain is replaced for it', async () => {
  const lines = await openLines(border, 'a')
  const replaced = async () => await border.stats('server', '^listener_manager.listener_(modified|in_place_updated)$')
  const before = [...(await replaced())]
  // The number stays: the centre says it of the export from then on, whatever becomes of the revocation.
  border.say({ revoked: [], cut: 1 })
  const leaf = await border.leafOf('c', 'web')
  await eventually(5000, 'it is let in', async () => (await knockOnce(border, leaf)) === '200')
  await border.settled()
  for (const end = performance.now() + (drainSeconds + 1) * 1000; performance.now() < end; await delay(250))
    for (const line of lines) await line.say(`at ${performance.now()}`)
  for (const line of lines) line.end()
  expect([...(await replaced())]).toEqual(before)
})

test('a denied workload: no request, no stream, and others of its cluster go on', async () => {
  const others = keepCalling(border.at.out.a.http)
  const [thief, honest] = [await border.leafOf('c', 'thief'), await border.leafOf('c', 'honest')]
  const old = await knock(border, thief)
  expect([await old.ask(), await stream(thief), await stream(honest)]).toEqual(['200', 'echo', 'echo'])
  const at = performance.now()
  border.say({ denied: ['spiffe://c.mesh1/ns/bookinfo/sa/thief 2'] })
  let last = ''
  while (last !== '403' && last !== 'refused' && performance.now() - at < 10_000) last = await old.ask()
  expect(performance.now() - at).toBeLessThan(newMsMax)
  await eventually(newMsMax, 'a new stream ends', async () => (await stream(thief)) === 'ended')
  expect(await knockOnce(border, thief)).toBe('403')
  expect([await knockOnce(border, honest), await stream(honest)]).toEqual(['200', 'echo'])
  await allCut([old])
  expect([...(await others()).keys()]).toEqual([200])
  border.say({ denied: [] })
  await eventually(5000, 'it is let in again', async () => (await stream(thief)) === 'echo')
  expect(border.relay.nacks).toEqual([])
})

test('another mesh: a new root beside its old one cuts nothing; taken out, everything of it ends, and no call of ours', async () => {
  const [one, two] = await Promise.all([foreignRoot('partner 1'), foreignRoot('partner 2')])
  const names = [{ uri: 'spiffe://partner.example/ns/shop/sa/web' }]
  const leafOf = async (by: Holder): Promise<Leaf> => {
    const { cert, key } = await foreignLeaf(by, names)
    return { chain: cert, key }
  }
  const [old, fresh] = [await leafOf(one), await leafOf(two)]
  const others = keepCalling(border.at.out.a.http)
  expect([await knockOnce(border, old), await stream(old)]).toEqual(['refused', 'ended'])
  border.say({ foreign: { 'partner.example': [one.pem] } })
  await eventually(5000, 'it is let in', async () => (await knockOnce(border, old)) === '200')
  expect([await stream(old), await knockOnce(border, fresh)]).toEqual(['echo', 'refused'])
  const [idle, busy] = [await knock(border, old), await knock(border, old)]
  expect([await idle.ask(), await busy.ask()]).toEqual(['200', '200'])
  border.say({ foreign: { 'partner.example': [one.pem, two.pem] } })
  await eventually(5000, 'its new root counts', async () => (await knockOnce(border, fresh)) === '200')
  border.say({ foreign: { 'partner.example': [two.pem] } })
  await eventually(5000, 'its old root does not', async () => (await knockOnce(border, old)) === 'refused')
  expect([await idle.ask(), await busy.ask(), await knockOnce(border, fresh)]).toEqual(['200', '200', '200'])

  const at = performance.now()
  border.say({ foreign: {}, unfederated: ['partner.example 20'] })
  const last = lastLetIn(fresh, at)
  let said = ''
  while (said !== '403' && said !== 'refused' && performance.now() - at < 10_000) said = await busy.ask()
  expect(performance.now() - at, 'the next request on an old connection is refused').toBeLessThan(newMsMax)
  expect(await last).toBeLessThan(newMsMax)
  await allCut([idle, busy])
  expect([...(await others()).keys()]).toEqual([200])
  expect(border.relay.nacks).toEqual([])
})

/** One word on a new connection to the pod's stream port: `echo`, or `ended`. */
const stream = (leaf: Leaf): Promise<string> =>
  new Promise((done) => {
    const socket = connect({
      ...{ host: border.at.server, port: 7000, ca: border.root, cert: leaf.chain, key: leaf.key },
      checkServerIdentity: () => undefined,
    })
    const end = (said: string) => {
      socket.destroy()
      done(said)
    }
    socket.on('secureConnect', () => socket.write('word'))
    socket.on('data', () => end('echo'))
    for (const event of ['error', 'end', 'close']) socket.on(event, () => end('ended'))
  })

test('a client that comes with a ticket of before is asked for its certificate all the same', async () => {
  const leaf = await border.leafOf('a', 'web')
  const options = {
    ...{ host: border.at.server, port: 9080, ca: border.root, cert: leaf.chain, key: leaf.key },
    checkServerIdentity: () => undefined,
  }
  const sessions: Buffer[] = []
  const reused: boolean[] = []
  for (const session of [undefined, 'again'] as const) {
    const kept = session && sessions.at(-1)
    await new Promise<void>((done, fail) => {
      const socket: TLSSocket = connect({ ...options, ...(kept ? { session: kept } : {}) })
      socket.on('session', (ticket: Buffer) => sessions.push(ticket))
      socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
      socket.on('data', () => {
        reused.push(socket.isSessionReused())
        const state = socket.getSession()
        if (state) sessions.push(state)
        socket.destroy()
        done()
      })
      socket.on('error', fail)
    })
  }
  expect(reused).toEqual([false, false])
  expect([...(await border.stats('server', 'ssl.session_reused$')).values()].filter((count) => count > 0)).toEqual([])
})

test('a revoked server: what callers have open to it is closed, though others offer the same or share its port', async () => {
  for (const others of [['d'], []]) {
    border.say({ revoked: [], others, deaf: ['b'] })
    await eventually(10_000, 'b is called', async () => (await get(border.at.out.a.http)) === 200)
    const lines = await openLines(border, 'a')
    // It hears nothing of it and would go on answering.
    border.say({ revoked: ['b.mesh1 b 9'] })
    await allCut(lines)
    expect(await get(border.at.out.a.http)).not.toBe(200)
  }
  border.say({ revoked: [], others: [], deaf: [] })
  await eventually(10_000, 'b is called again', async () => (await get(border.at.out.a.http)) === 200)
  expect(border.relay.nacks).toEqual([])
})
