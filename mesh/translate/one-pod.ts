import type { View } from '#mesh/model/view.ts'
import type { Callable } from '#mesh/translate/callable.ts'

/**
 * The view as the name of one pod sees it: of its service nothing but that pod, here and in the summary of the cluster
 * that it is in. For every other callable the view itself. It holds only what a callable's own resources are made from.
 */
export function viewOfPod(view: View, callable: Callable): View {
  const { hostname, key, road } = callable
  if (hostname === undefined) return view
  const isIt = (named: { readonly hostname?: string }): boolean => named.hostname === hostname
  const services = (road?.sources ?? []).flatMap(({ cluster }) => {
    const summary = view.summaries.services.get(cluster)?.get(key)
    if (summary === undefined) return []
    const said = summary.podNames?.find(isIt)
    const counts = [{ port: callable.port.port, region: '', zone: '', ready: said?.ready ? 1 : 0, total: 1 }]
    const flat = summary.flat === undefined ? {} : { flat: summary.flat.filter(isIt) }
    return [[cluster, new Map([[key, { counts, ...flat }]])] as const]
  })
  return {
    ...view,
    own: { ...view.own, endpoints: new Map([[key, (view.own.endpoints.get(key) ?? []).filter(isIt)]]) },
    summaries: { services: new Map(services), gateways: view.summaries.gateways },
  }
}
