import { beforeAll, describe, expect, test } from 'vitest'
import { sniOf } from '#mesh/model/host.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { sniOfApp } from '#tests/support/fleet-cluster.ts'
import { writeHeadlessSet } from '#tests/support/headless-set.ts'
import { chatGrpc, sayGrpc, sayHttp, sayHttp2, sayTcp, sayTls, sayWebSocket } from '#tests/support/protocol-client.ts'
import { appPorts, type PortName } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'

const ports = ['http', 'http2', 'grpc', 'tcp', 'tls'] as const

const fleet = useFleet({
  east: { pods: { 'ebony-1': { app: 'ebony', ports } }, exports: { ebony: '*' } },
  west: { pods: { 'willow-1': { app: 'willow', ports } }, exports: { willow: '*' } },
})

const directions = [
  { from: 'east', pod: 'ebony-1', to: 'west', app: 'willow', answers: 'willow-1' },
  { from: 'west', pod: 'willow-1', to: 'east', app: 'ebony', answers: 'ebony-1' },
] as const

describe.each(directions)('from $from to $to', ({ from, pod, to, app, answers }) => {
  const caller = () => fleet().cluster(from).pod(pod)
  const target = (port: PortName) => caller().to(app, port)
  const uri = () => `URI=spiffe://${fleet().cluster(from).trustDomain}/ns/shop/sa/${pod.split('-')[0]}`
  const who = () => expect.objectContaining({ cluster: to, pod: answers, caller: expect.stringContaining(uri()) })

  /** Bytes that the pods behind the callee's gateway have sent through it from one port. */
  const crossed = async (port: PortName): Promise<number> => {
    const name = `cluster.${sniOfApp(app, port)};.upstream_cx_rx_bytes_total`
    return (await fleet().cluster(to).gateway.stats(`${app}.*upstream_cx_rx_bytes_total$`)).get(name) ?? 0
  }
  const through = async (port: PortName, work: () => Promise<void>): Promise<void> => {
    const before = await crossed(port)
    await work()
    expect(await crossed(port), 'the call passed the gateway').toBeGreaterThan(before)
  }

  test('the service is there', async () => {
    await eventually(20_000, `${from} reaches ${app}`, () => sayHttp(target('http')))
  })

  test('HTTP/1.1, with a body', () =>
    through('http', async () => {
      const answer = await sayHttp(target('http'), '/books?n=1', 'a body')
      expect(answer).toEqual(who())
      expect(answer).toMatchObject({ protocol: 'HTTP/1.1', text: 'POST /books?n=1 a body' })
    }))

  test('HTTP/2, many requests on one connection', () =>
    through('http2', async () => {
      const answers = await sayHttp2(target('http2'), 20)
      expect(answers.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, n) => `GET /${n}`))
      for (const answer of answers) expect(answer).toEqual(who())
      expect(answers[0]?.protocol).toBe('HTTP/2.0')
    }))

  test('gRPC: a call, a stream in both directions, and the callee’s own error code', () =>
    through('grpc', async () => {
      expect(await sayGrpc(target('grpc'), 'hello')).toEqual(who())
      const chat = await chatGrpc(target('grpc'), ['one', 'two', 'three'])
      expect(chat.map(({ text }) => text)).toEqual(['one', 'two', 'three'])
      expect(chat[0]).toEqual(who())
      await expect(sayGrpc(target('grpc'), 'refuse')).rejects.toMatchObject({ code: 9, details: `${answers} refuses` })
    }))

  test('WebSocket', () =>
    through('http', async () => {
      const answers = await sayWebSocket(target('http'), ['one', 'two', 'three'])
      expect(answers.map(({ text }) => text)).toEqual(['one', 'two', 'three'])
      expect(answers[0]).toEqual(who())
      expect(answers[0]?.protocol).toBe('WebSocket')
    }))

  test('TCP where the server speaks first', () =>
    through('tcp', async () => {
      const { greeting, echo } = await sayTcp(target('tcp'), 'ping')
      expect(greeting).toMatchObject({ cluster: to, pod: answers, protocol: 'TCP' })
      expect(echo).toBe('ping')
    }))

  test('TLS of the application’s own, end to end', () =>
    through('tls', async () => {
      const { greeting, echo, names } = await sayTls(target('tls'), 'ping')
      expect(greeting).toMatchObject({ cluster: to, pod: answers, protocol: 'TLS' })
      expect(echo).toBe('ping')
      expect(names, 'the certificate that arrived is the application’s').toBe(`DNS:${answers}.test`)
    }))
})

describe('one cluster, one pod', () => {
  const everywhere = 'set.shop.svc.clusterset.local'
  const caller = () => fleet().cluster('east').pod('ebony-1')
  const call = (host: string) => sayHttp(caller().to('set', 'http', host))
  /** The pods that answer some calls, each once. */
  const answering = async (host: string): Promise<string[]> => {
    const said = await Promise.all(Array.from({ length: 12 }, () => call(host)))
    return [...new Set(said.map(({ cluster, pod }) => `${cluster}/${pod}`))].sort()
  }

  beforeAll(async () => {
    const [east, west] = [fleet().cluster('east'), fleet().cluster('west')]
    await west.addPod('willow-2', { app: 'willow', ports })
    writeHeadlessSet(east, 'set', ['ebony-1'])
    writeHeadlessSet(west, 'set', ['willow-1', 'willow-2'])
    for (const host of [
      `west.${everywhere}`,
      `east.${everywhere}`,
      `set-0.west.${everywhere}`,
      `set-1.west.${everywhere}`,
    ])
      await eventually(20_000, `east reaches ${host}`, () => call(host))
  })

  test('the name of a cluster leads to its pods alone, here and across the border', async () => {
    expect(await answering(`east.${everywhere}`)).toEqual(['east/ebony-1'])
    for (const one of await answering(`west.${everywhere}`)) expect(one).toMatch(/^west\/willow-/)
  })

  test('the name of a pod leads to that pod, through a chain of its own', async () => {
    for (const [n, pod] of ['willow-1', 'willow-2'].entries()) {
      const host = `set-${n}.west.${everywhere}`
      const stat = `cluster.${sniOf(host, appPorts.http)};.upstream_cx_total`
      expect(await answering(host)).toEqual([`west/${pod}`])
      expect((await fleet().cluster('west').gateway.stats('set-.*upstream_cx_total$')).get(stat)).toBeGreaterThan(0)
    }
  })

  test('in its own cluster a pod has the name that Kubernetes gives it, and the plain name stays at home', async () => {
    const at = (host: string) => sayHttp(fleet().cluster('west').pod('willow-1').to('set', 'http', host))
    expect(await at('set-1.set.shop.svc.cluster.local')).toMatchObject({ cluster: 'west', pod: 'willow-2' })
    expect(await at('set-1.set')).toMatchObject({ cluster: 'west', pod: 'willow-2' })
    expect(await answering('set.shop.svc.cluster.local')).toEqual(['east/ebony-1'])
  })

  test('a pod that nobody named is nobody', async () => {
    await expect(call(`set-2.west.${everywhere}`)).rejects.toThrow('502')
    await expect(call(`willow-1.west.willow.shop.svc.clusterset.local`)).rejects.toThrow('502')
  })
})
