import { type IncomingMessage, request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  gateway,
  kill,
  leafOf,
  out,
  outTcp,
  permissiveIn,
  serverIn,
  startBorder,
  stopBorder,
  trustedRoots,
} from '#mesh/translate/testdata/border.ts'
import type { Leaf } from '#mesh/translate/testdata/real-envoy.ts'
import { envoyPath } from '#tests/support/parts.ts'

beforeAll(async () => startBorder(await envoyPath()))
afterAll(stopBorder)

/** What the server's application reads in `x-forwarded-client-cert`, with the certificate's hash left out. */
const seen = 'By=spiffe://b.mesh1/ns/bookinfo/sa/reviews;URI=spiffe://a.mesh1/ns/bookinfo/sa/productpage'
const withoutHash = (text: string): string => text.replace(/Hash=[0-9a-f]{64};/, '')

type Answer = { readonly status: number; readonly body: string }
const call = (host: string, more: { readonly method?: string; readonly headers?: Record<string, string> } = {}) =>
  new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', headers = {} } = more
    const req = request(
      { host: out, port: 9080, method, headers: { host, ...headers }, agent: false },
      (res: IncomingMessage) => {
        let body = ''
        res.on('data', (data: Buffer) => {
          body += data.toString()
        })
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body }))
      },
    )
    req.on('error', reject)
    req.end(method === 'POST' ? 'x' : undefined)
  })

/** What a stranger hears at a TLS port: the first bytes of an answer, or why there is none. */
async function knock(
  at: string,
  facts: { readonly leaf?: Leaf; readonly sni?: string; readonly alpn?: readonly string[]; readonly send?: string },
): Promise<string> {
  const [host = '', port] = at.split(':')
  return await new Promise((resolve) => {
    const socket = connectTls({
      host,
      port: Number(port),
      ca: trustedRoots(),
      checkServerIdentity: () => undefined,
      ...(facts.leaf ? { cert: facts.leaf.chain, key: facts.leaf.key } : {}),
      ...(facts.sni ? { servername: facts.sni } : {}),
      ...(facts.alpn ? { ALPNProtocols: [...facts.alpn] } : {}),
      minVersion: 'TLSv1.3',
    })
    socket.on('secureConnect', () =>
      socket.write(facts.send ?? 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
    )
    socket.on('data', (data: Buffer) => {
      resolve(data.toString().split('\r\n')[0] ?? '')
      socket.destroy()
    })
    socket.on('error', (error) => resolve(`refused: ${error.message}`))
    socket.on('close', () => resolve('refused: closed'))
  })
}

const sni = (port: number, service: string) => `outbound_.${port}_._.${service}.bookinfo.svc.cluster.local`

test('HTTP crosses the border, and the server sees who calls, whatever the caller claims', async () => {
  for (const method of ['GET', 'POST']) {
    const answer = await call('reviews', {
      method,
      headers: { 'x-forwarded-client-cert': 'URI=spiffe://b.mesh1/forged' },
    })
    expect(answer.status).toBe(200)
    expect(JSON.parse(withoutHash(answer.body))).toEqual({ cluster: 'b', method, xfcc: seen, version: '1.1' })
  }
  expect((await call('reviews.bookinfo.svc.clusterset.local:9080')).status).toBe(200)
})

test('a name that nobody offers is answered here', async () => {
  expect(await call('secret.bookinfo')).toMatchObject({ status: 502 })
})

test('a WebSocket crosses the border', async () => {
  const said = await new Promise<string>((resolve, reject) => {
    const req = request({
      host: out,
      port: 9080,
      headers: {
        host: 'reviews',
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    })
    req.on('upgrade', (_, socket, head) => {
      let text = head.toString()
      socket.on('data', (data: Buffer) => {
        text += data.toString()
        if (!text.includes('echo ping')) return
        resolve(text)
        socket.destroy()
      })
      socket.write('ping')
    })
    req.on('response', (res) => reject(new Error(`answered ${res.statusCode}`)))
    req.on('error', reject)
    req.end()
  })
  expect(withoutHash(said)).toBe(`hello ${seen}echo ping`)
})

test('bytes of TCP cross the border', async () => {
  const said = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: outTcp, port: 7000 }, () => socket.write('ping'))
    socket.on('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
  })
  expect(said).toBe('tcp ping')
})

test('HTTP/2 crosses the border as HTTP/2', async () => {
  const session = connectHttp2(`http://${out}:7070`)
  const said = await new Promise<string>((resolve, reject) => {
    const stream = session.request({
      ':path': '/chat.Chat/Say',
      ':method': 'POST',
      ':authority': 'chat.bookinfo',
      te: 'trailers',
    })
    let body = ''
    stream.on('data', (data: Buffer) => {
      body += data.toString()
    })
    stream.on('end', () => resolve(body))
    stream.on('error', reject)
    stream.end('x')
  })
  session.destroy()
  expect(withoutHash(said)).toBe(`h2 /chat.Chat/Say ${seen}`)
})

test('a pod’s port takes nobody without a certificate, and nobody of a domain that its export does not admit', async () => {
  const plain = await new Promise<string>((resolve) => {
    const socket = connect({ host: serverIn, port: 9080 }, () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
    socket.on('data', (data) => resolve(`answered ${data.toString()}`))
    socket.on('error', () => resolve('refused'))
    socket.on('close', () => resolve('refused'))
  })
  expect(plain).toBe('refused')
  const at = `${serverIn}:9080`
  expect(await knock(at, {})).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('c', 'bookinfo', 'productpage') })).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('a', 'bookinfo', 'productpage') })).toBe('HTTP/1.1 200 OK')
  const unexported = `${serverIn}:9081`
  expect(await knock(unexported, { leaf: await leafOf('a', 'bookinfo', 'productpage') })).toMatch(/^refused/)
  expect(await knock(unexported, { leaf: await leafOf('b', 'bookinfo', 'productpage') })).toMatch(/^HTTP\/1.1 503/)
})

test('a permissive port takes plaintext, and by certificate only those whom the export admits', async () => {
  const at = `${permissiveIn}:9080`
  const plain = await fetch(`http://${at}/`)
  expect([plain.status, ((await plain.json()) as { readonly xfcc?: string }).xfcc]).toEqual([200, undefined])
  const alpn = ['istio']
  expect(await knock(at, { leaf: await leafOf('a', 'bookinfo', 'productpage'), alpn })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf: await leafOf('b', 'bookinfo', 'productpage'), alpn })).toMatch(/^refused/)
})

test('the gateway answers for exported names only, and only to a proxy of the mesh', async () => {
  const leaf = await leafOf('a', 'bookinfo', 'productpage')
  const at = `${gateway}:15443`
  const alpn = ['istio']
  expect(await knock(at, { leaf, alpn, sni: sni(9080, 'reviews') })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf, alpn, sni: sni(9081, 'secret') })).toMatch(/^refused/)
  expect(await knock(at, { leaf, alpn, sni: 'sds-grpc' })).toMatch(/^refused/)
  expect(await knock(at, { leaf, alpn: ['h2'], sni: sni(9080, 'reviews') })).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('c', 'x', 'y'), alpn, sni: sni(9080, 'reviews') })).toMatch(/^refused/)
})

test('the gateway answers probes of the members’ relays, and of nobody else', async () => {
  const at = `${gateway}:15443`
  const name = 'probe.b.mesh1'
  expect(await knock(at, { leaf: await leafOf('a', '', 'relay'), sni: name })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf: await leafOf('c', '', 'relay'), sni: name })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf: await leafOf('a', 'bookinfo', 'productpage'), sni: name })).toMatch(/^refused/)
  expect(await knock(at, { sni: name })).toMatch(/^refused/)
})

test('a gateway that dies costs no request that may be repeated', async () => {
  const servedBy = async () => {
    const answer = await call('reviews')
    return answer.status === 200 ? (JSON.parse(answer.body) as { readonly cluster: string }).cluster : answer.status
  }
  expect(await servedBy()).toBe('b')
  await kill('gateway-b')
  const served = new Set<string | number>()
  for (let n = 0; n < 50; n += 1) served.add(await servedBy())
  expect([...served]).toEqual(['c'])
})
