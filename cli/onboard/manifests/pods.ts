import { selectorOf } from '#cli/onboard/manifests/object.ts'

/** Nobody's user, as in distroless images. */
const user = 65_532

/** What both programs are: no root, nothing to write but their own volumes, no privilege to gain. Pod Security "restricted". */
export const podSecurity = {
  runAsNonRoot: true,
  ...{ runAsUser: user, runAsGroup: user, fsGroup: user },
  seccompProfile: { type: 'RuntimeDefault' },
} as const

export const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
} as const

/** A variable from the pod itself. */
export const fromPod = (name: string, fieldPath: string) => ({
  name,
  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
})

/** One new pod before an old one goes: none is missing while they are replaced. */
export const rollout = { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } } as const

/** On different nodes where there are some. */
export const spread = (part: string) => [
  {
    ...{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
    labelSelector: { matchLabels: selectorOf(part) },
  },
]

export const httpProbe = (path: string, port: number, periodSeconds: number, failureThreshold: number) => ({
  httpGet: { path, port },
  ...{ periodSeconds, failureThreshold, timeoutSeconds: 2 },
})
