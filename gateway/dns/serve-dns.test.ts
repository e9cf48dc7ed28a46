import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import { decode, encode, streamEncode } from 'dns-packet'
import { afterEach, expect, test } from 'vitest'
import type { Resolve } from '#gateway/dns/answer-query.ts'
import { type DnsLimits, type DnsServer, serveDns } from '#gateway/dns/serve-dns.ts'

const resolve: Resolve = (name, type) => {
  if (name === 'later.shop.svc.clusterset.local') return { kind: 'unknown' }
  if (name === 'big.shop.svc.clusterset.local')
    return { kind: 'records', records: Array.from({ length: 150 }, (_, n) => ({ type: 'A', address: `10.0.0.${n}` })) }
  if (name !== 'web.shop.svc.clusterset.local') return { kind: 'no name' }
  return type === 'A' ? { kind: 'records', records: [{ type: 'A', address: '241.0.0.1' }] } : { kind: 'no data' }
}
const log = { warn: () => undefined }

let server: DnsServer | undefined
afterEach(() => server?.close())
async function serve(limits: Partial<DnsLimits> = {}, now?: () => number): Promise<DnsServer> {
  server = await serveDns({ address: '127.0.0.1', port: 0, resolve, log, limits, ...(now ? { now } : {}) })
  return server
}
function resolverOf({ port }: DnsServer): Resolver {
  const resolver = new Resolver({ timeout: 5000, tries: 2 })
  resolver.setServers([`127.0.0.1:${port}`])
  return resolver
}

test('a resolver as programs use it gets addresses, and over TCP what does not fit', async () => {
  const resolver = resolverOf(await serve())
  expect(await resolver.resolve4('web.shop.svc.clusterset.local', { ttl: true })).toEqual([
    { address: '241.0.0.1', ttl: 5 },
  ])
  expect(await resolver.resolve4('big.shop.svc.clusterset.local')).toHaveLength(150)
  await expect(resolver.resolve6('web.shop.svc.clusterset.local')).rejects.toMatchObject({ code: 'ENODATA' })
  await expect(resolver.resolve4('no.shop.svc.clusterset.local')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  await expect(resolver.resolve4('later.shop.svc.clusterset.local')).rejects.toMatchObject({ code: 'ESERVFAIL' })
})

test('over one TCP connection several, in pieces as they come', async () => {
  const { port } = await serve()
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const query = streamEncode({
    type: 'query',
    id: 7,
    questions: [{ name: 'web.shop.svc.clusterset.local', type: 'A' }],
  })
  const both = Buffer.concat([query, query])
  let got = Buffer.alloc(0)
  const enough = new Promise<void>((done) =>
    socket.on('data', (piece: Buffer) => {
      got = Buffer.concat([got, piece])
      if (got.length >= 2 * (2 + got.readUInt16BE(0))) done()
    }),
  )
  for (const byte of both) socket.write(Buffer.from([byte]))
  await enough
  expect(decode(got.subarray(2)).answers).toMatchObject([{ data: '241.0.0.1' }])
  socket.destroy()
})

test('a connection that sends what is none is ended', async () => {
  const { port } = await serve()
  for (const bytes of [Buffer.from([0xff, 0xff, 0]), Buffer.from([0, 2, 1, 2])]) {
    const socket = connect(port, '127.0.0.1')
    socket.end(bytes)
    socket.resume()
    await once(socket, 'close')
  }
  expect(await resolverOf(await served()).resolve4('web.shop.svc.clusterset.local')).toEqual(['241.0.0.1'])
})
const served = async (): Promise<DnsServer> => {
  if (!server) throw new Error('no server')
  return server
}

test('past its rate queries are dropped and counted, and a later one is answered', async () => {
  let at = 0
  const limited = await serve({ queriesPerSecond: 1 }, () => at)
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const ask = (id: number) =>
    socket.send(
      encode({ type: 'query', id, questions: [{ name: 'web.shop.svc.clusterset.local', type: 'A' }] }),
      limited.port,
      '127.0.0.1',
    )
  ask(1)
  const [first] = (await once(socket, 'message')) as [Buffer]
  expect(decode(first).id).toBe(1)
  ask(2)
  // One that gets no answer at all counts as well, so the drop is seen before the clock goes on.
  while (limited.counts().dropped === 0) await new Promise((done) => setImmediate(done))
  at = 1000
  ask(3)
  const [next] = (await once(socket, 'message')) as [Buffer]
  expect(decode(next).id).toBe(3)
  expect(limited.counts()).toEqual({ answered: 2, dropped: 1 })
  socket.close()
})

test('a port that is taken is named', async () => {
  const { port } = await serve()
  await expect(serveDns({ address: '127.0.0.1', port, resolve, log })).rejects.toThrow(`127.0.0.1:${port}`)
})
