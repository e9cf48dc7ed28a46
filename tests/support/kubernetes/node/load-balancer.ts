import type { V1Service } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import { keyOf, mirror } from '#tests/support/kubernetes/node/mirror.ts'
import { nth } from '#tests/support/kubernetes/ranges.ts'

/** A Service with this annotation gets no address until it is gone. */
export const withoutAddress = 'isthmus.test/without-address'

/**
 * Gives every Service of type LoadBalancer an address of `range`, each its own for as long as it exists, and takes it back
 * when it is no longer of that type.
 */
export function startLoadBalancer(api: KubeApi, range: string, say: (line: string) => void): void {
  const given = new Map<string, number>()
  const writing = new Set<string>()
  const services = mirror<V1Service>(api, '/api/v1/services', () => look())

  function look(): void {
    for (const uid of given.keys()) if (!services.all().some(({ metadata }) => metadata?.uid === uid)) given.delete(uid)
    for (const service of services.all()) void give(service)
  }

  async function give(service: V1Service): Promise<void> {
    const { uid = '', name, namespace } = service.metadata ?? {}
    const wanted = addressOf(service)
    const now = service.status?.loadBalancer?.ingress?.[0]?.ip
    if (now === wanted || writing.has(uid)) return
    writing.add(uid)
    try {
      await api.call('PATCH', `/api/v1/namespaces/${namespace}/services/${name}/status`, {
        body: { status: { loadBalancer: { ingress: wanted === undefined ? null : [{ ip: wanted }] } } },
        contentType: 'application/merge-patch+json',
      })
    } catch (fault) {
      say(`${keyOf(service)}: ${(fault as Error).message}`)
      await new Promise((next) => setTimeout(next, 200))
    }
    writing.delete(uid)
    // What was written comes back; where it was not, or is another meanwhile, it is tried again.
    setTimeout(look, 200)
  }

  function addressOf({ metadata, spec }: V1Service): string | undefined {
    const uid = metadata?.uid ?? ''
    if (spec?.type !== 'LoadBalancer' || metadata?.annotations?.[withoutAddress] !== undefined) return undefined
    const used = new Set(given.values())
    let number = given.get(uid)
    for (let free = 1; number === undefined; free++) if (!used.has(free)) number = free
    given.set(uid, number)
    return nth(range, number)
  }
}
