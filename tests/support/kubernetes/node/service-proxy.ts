import { createSocket } from 'node:dgram'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import { mirror } from '#tests/support/kubernetes/node/mirror.ts'

/** One address and port where a Service listens, and which of its ports that is. */
type Door = { readonly service: V1Service; readonly port: string; readonly protocol: string }
type Listener = { close(): void; door: Door }
type Target = { readonly host: string; readonly port: number }

/** Who answered one UDP caller is asked by it again, for so long. */
const udpIdleMs = 10_000

/**
 * What a node does for Services: their cluster IPs and load balancer addresses lead to a ready endpoint, a new one for each
 * connection (UDP: for each caller). Where none is ready a connection is refused by a reset.
 */
export async function startServiceProxy(api: KubeApi, say: (line: string) => void): Promise<void> {
  const listeners = new Map<string, Listener>()
  const services = mirror<V1Service>(api, '/api/v1/services', () => look())
  const slices = mirror<V1EndpointSlice>(api, '/apis/discovery.k8s.io/v1/endpointslices', () => undefined)
  await Promise.all([services.synced, slices.synced])

  function look(): void {
    const wanted = new Map(services.all().flatMap(doorsOf))
    for (const [key, listener] of listeners) {
      if (wanted.has(key)) continue
      listener.close()
      listeners.delete(key)
    }
    for (const [key, door] of wanted) {
      const there = listeners.get(key)
      if (there) there.door = door
      else listeners.set(key, open(key, door))
    }
  }

  function open(key: string, door: Door): Listener {
    const [host = '', port = '0'] = key.split(' ')[0]?.split(':') ?? []
    const find = (): Target | undefined => targetOf(listener.door)
    const failed = (fault: Error): void => {
      say(`${key}: ${fault.message}`)
      listeners.delete(key)
    }
    const close = door.protocol === 'UDP' ? serveUdp(host, +port, find, failed) : serveTcp(host, +port, find, failed)
    const listener: Listener = { door, close }
    return listener
  }

  /** Any ready endpoint of its slices. */
  function targetOf({ service, port }: Door): Target | undefined {
    const { name = '', namespace } = service.metadata ?? {}
    const all = slices
      .all()
      .filter(({ metadata }) => metadata?.namespace === namespace)
      .filter(({ metadata }) => metadata?.labels?.['kubernetes.io/service-name'] === name)
      .flatMap(({ endpoints, ports }) => {
        // Both are null of a slice that has none.
        const to = ports?.find((one) => (one.name ?? '') === port)?.port
        if (to === undefined) return []
        return (endpoints ?? [])
          .filter(({ conditions }) => conditions?.ready !== false)
          .flatMap(({ addresses }) => addresses.map((host) => ({ host, port: to })))
      })
    return all[Math.floor(Math.random() * all.length)]
  }
}

/** By `address:port protocol`. */
function doorsOf(service: V1Service): (readonly [string, Door])[] {
  const { clusterIP, ports = [] } = service.spec ?? {}
  const balanced = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [ip]))
  const addresses = [...(clusterIP === undefined || clusterIP === 'None' ? [] : [clusterIP]), ...balanced]
  return ports.flatMap(({ name = '', port, protocol = 'TCP' }) =>
    addresses.map((address) => [`${address}:${port} ${protocol}`, { service, port: name, protocol }] as const),
  )
}

type Find = () => Target | undefined

function serveTcp(host: string, port: number, find: Find, failed: (fault: Error) => void): () => void {
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (caller: Socket) => {
    const target = find()
    if (!target) return void caller.resetAndDestroy()
    const called = connect({ ...target, allowHalfOpen: true, noDelay: true })
    caller.pipe(called)
    called.pipe(caller)
    caller.on('error', () => called.resetAndDestroy())
    called.on('error', () => caller.resetAndDestroy())
    caller.on('close', () => called.destroy())
    called.on('close', () => caller.destroy())
  })
  server.on('error', failed).listen({ host, port, backlog: 1024 })
  return () => server.close()
}

function serveUdp(host: string, port: number, find: Find, failed: (fault: Error) => void): () => void {
  const server = createSocket('udp4')
  const flows = new Map<string, (message: Buffer) => void>()
  const begin = (key: string, back: (answer: Buffer) => void): ((message: Buffer) => void) | undefined => {
    const target = find()
    if (!target) return undefined
    const flow = createSocket('udp4')
    flow.on('message', back).on('error', () => undefined)
    const send = (message: Buffer): void => flow.send(message, target.port, target.host)
    flows.set(key, send)
    setTimeout(() => {
      flows.delete(key)
      flow.close()
    }, udpIdleMs)
    return send
  }
  server.on('error', failed)
  server.on('message', (message, { address, port: from }) => {
    const key = `${address}:${from}`
    const send = flows.get(key) ?? begin(key, (answer) => server.send(answer, from, address))
    send?.(message)
  })
  server.bind(port, host)
  return () => server.close()
}
