import type { MutualTlsMode, PeerAuthentication } from '#mesh/model/pod.ts'

/** The namespace whose PeerAuthentication without a selector speaks for the whole cluster. */
const rootNamespace = 'istio-system'

/**
 * What a pod's port accepts: the policy that selects the pod, else its namespace's, else the cluster's, else STRICT. A
 * port's own mode wins over its policy's; a mode that is not said is inherited. Among several at one level the first by
 * name counts (the objects carry no age here). In the root namespace a selector speaks for pods of that namespace only.
 *
 * Source: Istio, PeerAuthentication; ours is STRICT where Istio's standard is PERMISSIVE.
 */
export function mutualTlsModeOf(
  policies: readonly PeerAuthentication[],
  pod: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> },
  port: number | undefined,
): MutualTlsMode {
  const levels = [
    firstOf(policies, (p) => p.namespace === pod.namespace && hasSelector(p) && selects(p, pod.labels)),
    firstOf(policies, (p) => p.namespace === pod.namespace && !hasSelector(p)),
    firstOf(policies, (p) => p.namespace === rootNamespace && !hasSelector(p)),
  ]
  const [bySelector] = levels
  const said = [port === undefined ? undefined : bySelector?.ports[String(port)], ...levels.map((p) => p?.mode)]
  return said.find((mode) => mode !== undefined) ?? 'STRICT'
}

const hasSelector = (policy: PeerAuthentication): boolean => Object.keys(policy.selector).length > 0

const selects = (policy: PeerAuthentication, labels: Readonly<Record<string, string>>): boolean =>
  Object.entries(policy.selector).every(([key, value]) => labels[key] === value)

const firstOf = (policies: readonly PeerAuthentication[], fits: (p: PeerAuthentication) => boolean) =>
  policies
    .filter(fits)
    .reduce<PeerAuthentication | undefined>(
      (first, next) => (first === undefined || next.name < first.name ? next : first),
      undefined,
    )
