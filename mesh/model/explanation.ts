import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'

/** The steps of one call's path, in the order in which they are looked at. */
export const stepNames = [
  'name',
  'export',
  'consumer',
  'policy',
  'tier',
  'health',
  'road',
  'gateway',
  'identity',
  'certificate',
  'proxy',
] as const
export type StepName = (typeof stepNames)[number]

/**
 * One step: whether it is as the call needs it and as its policy means it. `unknown` is not `true`: whoever looked cannot
 * know it.
 */
export type Step = {
  readonly step: StepName
  readonly ok: boolean | 'unknown'
  /** A sentence without a full stop. */
  readonly saw: string
  /** What mends it: the command, or what to do. */
  readonly fix?: string
  /** The object that it is about: `cluster oslo-1`, `service bookinfo/reviews`. */
  readonly at?: string
}

/** Who calls. */
export type CallingPod = { readonly cluster: ClusterName; readonly namespace: string; readonly pod: string }

/** What the applications answered, as proxies counted it. */
export type Answers = { readonly calls: number; readonly errors: number; readonly forMs: number }

/** The path of one call as one of those who know it sees it, up to where it cannot be followed any more. */
export type Explanation = {
  readonly by: 'centre' | 'relay'
  readonly caller: CallingPod
  readonly host: string
  /** Absent where nobody said it and the service has several, or none. */
  readonly port?: number
  readonly service?: ServiceKey
  /** Of the caller's cluster's config. */
  readonly revision?: number
  readonly steps: readonly Step[]
  /** Clusters that such calls are meant to go to first, in order of name; empty where that is not known. */
  readonly via: readonly ClusterName[]
  /** Where such calls go now; empty where nowhere, or nobody can say. */
  readonly lands: readonly { readonly cluster: ClusterName; readonly share: number }[]
  /** Absent = not measured. */
  readonly answers?: Answers
}

/** The first step that is not as it should be. */
export const firstFailing = (steps: readonly Step[]): Step | undefined => steps.find(({ ok }) => ok === false)
