import { createSocket } from 'node:dgram'
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import { mirror } from '#tests/support/kubernetes/node/mirror.ts'

export type DnsParts = {
  readonly api: KubeApi
  /** Where pods ask. */
  readonly address: string
  /** Names that end so are asked of this Service, as a stub domain of CoreDNS is. */
  readonly stub: { readonly domain: string; readonly service: string }
  readonly say: (line: string) => void
}

const local = '.svc.cluster.local'
const stubMs = 5000
const ttlSeconds = 1
const codes = { found: 0, servfail: 2, nxdomain: 3 } as const

/** The names of a cluster's Services, over UDP. Source: Kubernetes DNS specification 1.1.0; RFC 1035 §4. */
export async function startClusterDns({ api, address, stub, say }: DnsParts): Promise<void> {
  const services = mirror<V1Service>(api, '/api/v1/services', () => undefined)
  const slices = mirror<V1EndpointSlice>(api, '/apis/discovery.k8s.io/v1/endpointslices', () => undefined)
  await Promise.all([services.synced, slices.synced])
  const server = createSocket('udp4')
  server.on('message', (query, caller) => {
    const back = (answer: Buffer): void => server.send(answer, caller.port, caller.address)
    const { name, type } = questionOf(query)
    const stubAddress = services.get(stub.service)?.spec?.clusterIP
    if (name.endsWith(`.${stub.domain}`) && stubAddress !== undefined) return ask(stubAddress, query, back)
    const found = addressesOf(name)
    back(answerTo(query, found === undefined ? 'nxdomain' : 'found', type === 1 ? (found ?? []) : []))
  })
  server.on('error', (fault) => say(`DNS: ${fault.message}`))
  await new Promise<void>((resolve) => server.bind(53, address, resolve))

  /** Undefined where there is no such name. */
  function addressesOf(name: string): string[] | undefined {
    if (!name.endsWith(local)) return undefined
    const [namespace = '', service = '', host, ...more] = name.slice(0, -local.length).split('.').toReversed()
    const found = services.get(`${namespace}/${service}`)
    if (!found || more.length > 0) return undefined
    const { clusterIP } = found.spec ?? {}
    if (clusterIP !== 'None') return host === undefined && clusterIP !== undefined ? [clusterIP] : undefined
    const endpoints = slices
      .all()
      .filter(({ metadata }) => metadata?.namespace === namespace)
      .filter(({ metadata }) => metadata?.labels?.['kubernetes.io/service-name'] === service)
      .flatMap(({ endpoints: some }) => some ?? [])
      .filter(({ conditions, hostname }) => conditions?.ready !== false && (host === undefined || hostname === host))
    const all = endpoints.flatMap(({ addresses }) => addresses)
    return all.length === 0 && host !== undefined ? undefined : all
  }
}

function ask(address: string, query: Buffer, back: (answer: Buffer) => void): void {
  const socket = createSocket('udp4')
  const late = setTimeout(() => end(answerTo(query, 'servfail', [])), stubMs)
  const end = (answer: Buffer): void => {
    clearTimeout(late)
    socket.close()
    back(answer)
  }
  socket.once('message', end).on('error', () => undefined)
  socket.send(query, 53, address)
}

function questionOf(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

function answerTo(query: Buffer, code: keyof typeof codes, addresses: readonly string[]): Buffer {
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head.writeUInt16BE(0x8580 | codes[code], 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(addresses.length, 6)
  const records = addresses.map((address) => {
    const data = address.split('.').map(Number)
    return Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttlSeconds, 0, 4, ...data])
  })
  return Buffer.concat([head, query.subarray(12, questionOf(query).end), ...records])
}
