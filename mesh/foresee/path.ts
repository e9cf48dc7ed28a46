import type { Meant } from '#mesh/foresee/meant-name.ts'
import type { Seen } from '#mesh/foresee/seen.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { CallingPod, Step, StepName } from '#mesh/model/explanation.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import type { Callable, Road } from '#mesh/translate/callable.ts'
import type { Offer } from '#mesh/translate/offers.ts'

/** Which call is asked about. */
export type AskedCall = {
  readonly caller: CallingPod
  readonly host: string
  /** Absent: the service's only one. */
  readonly port?: number
}

/** One call between clusters, as far as it was followed. */
export type Path = {
  readonly seen: Seen
  readonly caller: CallingPod
  readonly meant: Meant
  readonly port: ServicePort
  readonly callable: Callable
  /** As compiled. */
  readonly road: Road
  readonly imported: ImportedService
  /** The view without whom nobody trusts any more, and what is left of the road there. */
  readonly trusted: { readonly view: View; readonly road: Road | undefined }
  /** Clusters that such calls are meant to go to first. */
  readonly first: readonly ClusterName[]
  /** Those of them that are trusted. */
  readonly live: readonly ClusterName[]
  /** What each cluster of the compiled road gives; one that is absent cannot be reached. */
  readonly offers: ReadonlyMap<string, Offer>
}

export const good = (step: StepName, saw: string): Step => ({ step, ok: true, saw })
export const unsure = (step: StepName, saw: string): Step => ({ step, ok: 'unknown', saw })
export const bad = (step: StepName, { saw, fix, at }: Fault): Step => ({ step, ok: false, saw, fix, at })

/** Why a step is not as it should be, what mends it, and the object that it is about. */
export type Fault = { readonly saw: string; readonly fix: string; readonly at: string }

/** Of a step that nobody is left to be looked at in: the step `identity` says why. */
export const nobodyTrusted = (step: StepName): Step => unsure(step, 'none of the clusters it is meant for is trusted')

/** The step of several faults: the first says what mends it. */
export function badOf(step: StepName, faults: readonly [Fault, ...Fault[]]): Step {
  const saws = [...new Set(faults.map(({ saw }) => saw))]
  return bad(step, { ...faults[0], saw: saws.slice(0, 3).join('; ') })
}

export const aboutService = (key: ServiceKey): string => `service ${key}`
export const aboutCluster = (cluster: string): string => `cluster ${cluster}`
