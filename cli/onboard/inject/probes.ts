import { isShape, type Shape, shapeAt, shapesAt, withKey } from '#cli/onboard/inject/kube-shape.ts'
import { proxyPorts } from '#cli/onboard/inject/settings.ts'

/** A kubelet's probes, and Istio's words for them. */
const kinds = { startupProbe: 'startupz', livenessProbe: 'livez', readinessProbe: 'readyz' } as const
const handlers = ['httpGet', 'tcpSocket', 'grpc'] as const

export type Rewritten = {
  readonly container: Shape
  /** What the kubelet was to ask, by the path at which it now asks the proxy. */
  readonly made: Readonly<Record<string, Shape>>
  /** The handlers as they were, by probe. */
  readonly before: Readonly<Record<string, Shape>>
}

/**
 * A container whose probes are made by the proxy beside it: a kubelet has no certificate, so where mutual TLS is asked for
 * it would be refused, and a connection that only the proxy takes says nothing of the application. Commands are left as
 * they are, and so is what is asked of another host.
 */
export function rewriteProbes(container: Shape): Rewritten {
  let [next, made, before]: [Shape, Record<string, Shape>, Record<string, Shape>] = [container, {}, {}]
  for (const [kind, word] of Object.entries(kinds)) {
    const probe = shapeAt(container, kind)
    const handler = handlers.find((one) => probe[one] !== undefined)
    if (handler === undefined || shapeAt(probe, handler)['host'] !== undefined) continue
    const path = pathOf(String(container['name']), word)
    const asked = shapeAt(probe, handler)
    made = {
      ...made,
      [path]: { [handler]: withKey(asked, 'port', portOf(container, asked['port'])), ...timeOut(probe) },
    }
    before = { ...before, [kind]: { [handler]: asked } }
    const { [handler]: _, ...rest } = probe
    next = { ...next, [kind]: { httpGet: { path, port: proxyPorts.status }, ...rest } }
  }
  return { container: next, made, before }
}

/** The container with its own probes again, where they are still ours. */
export function restoreProbes(container: Shape, before: Readonly<Record<string, unknown>>): Shape {
  let next = container
  for (const [kind, word] of Object.entries(kinds)) {
    const { httpGet, ...rest } = shapeAt(container, kind)
    const old = shapeAt(before, kind)
    if (Object.keys(old).length === 0 || !isOurs(httpGet, pathOf(String(container['name']), word))) continue
    next = { ...next, [kind]: { ...old, ...rest } }
  }
  return next
}

const isOurs = (asked: unknown, path: string): boolean => isShape(asked) && asked['path'] === path

const pathOf = (container: string, word: string): string => `/app-health/${container}/${word}`

/** By its number: the name of a port is known in its own container only. */
const portOf = (container: Shape, port: unknown): unknown =>
  shapesAt(container, 'ports').find(({ name }) => name !== undefined && name === port)?.['containerPort'] ?? port

const timeOut = ({ timeoutSeconds }: Shape): Shape => (timeoutSeconds === undefined ? {} : { timeoutSeconds })
