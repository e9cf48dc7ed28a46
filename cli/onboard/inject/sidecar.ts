import type { Shape } from '#cli/onboard/inject/kube-shape.ts'
import { type InjectSettings, proxyPorts, proxyUser } from '#cli/onboard/inject/settings.ts'
import { containerSecurity, fromPod, httpProbe } from '#cli/onboard/manifests/pods.ts'
import { proxyMounts, proxyVariables, proxyVolumes } from '#cli/onboard/manifests/proxy.ts'

/** Names of what a pod is given. Istio's CNI plugin knows a sidecar by its container's name. */
export const names = { redirect: 'isthmus-redirect', proxy: 'isthmus-proxy', cniProxy: 'istio-proxy' } as const
export const volumeNames = { root: 'isthmus-root', token: 'isthmus-token', run: 'isthmus-run' } as const

export type SidecarFacts = {
  /** `reviews-v1`: for telemetry. */
  readonly workload: string
  /** The pod's, ours not among them. */
  readonly labels: Readonly<Record<string, string>>
  /** The application's own probes by the path at which the proxy makes them, as JSON; empty = it has none. */
  readonly probes: string
  /** Flags of `isthmus redirect`. */
  readonly captured: readonly string[]
}

/** The containers, first to last; all of them before the pod's own, which find their network as it will be. */
export const buildContainers = (settings: InjectSettings, facts: SidecarFacts): readonly Shape[] =>
  settings.cni
    ? [proxyContainer(settings, facts)]
    : [redirectContainer(settings, facts), proxyContainer(settings, facts)]

/** Installs the redirection and ends. The only one with a right over the network, and it lasts a blink. */
const redirectContainer = ({ image }: InjectSettings, { captured }: SidecarFacts): Shape => ({
  ...{ name: names.redirect, image, imagePullPolicy: 'IfNotPresent' },
  args: ['redirect', ...captured],
  resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { cpu: '1', memory: '128Mi' } },
  securityContext: {
    ...containerSecurity,
    ...{ runAsNonRoot: false, runAsUser: 0, runAsGroup: 0, seccompProfile: { type: 'RuntimeDefault' } },
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
  },
})

/** Of the images: infra/images. */
const entryPoint = ['/usr/local/bin/node', '/opt/isthmus/isthmus.cjs'] as const

/** Envoy and the program beside it, which start before the pod's own containers and end after them. */
const proxyContainer = (settings: InjectSettings, facts: SidecarFacts): Shape => ({
  ...{ name: settings.cni ? names.cniProxy : names.proxy, image: settings.image, imagePullPolicy: 'IfNotPresent' },
  restartPolicy: 'Always',
  args: ['proxy', 'sidecar'],
  env: variables(settings, facts),
  // Run when the pod begins to end, and not when the sidecar is to, which is after the application.
  lifecycle: { preStop: { exec: { command: [...entryPoint, 'proxy', 'drain'] } } },
  ports: [{ name: 'http-isthmus', containerPort: proxyPorts.status, protocol: 'TCP' }],
  // Ten minutes for a relay that is away; then it starts anew.
  startupProbe: httpProbe('/healthz/ready', proxyPorts.status, 1, 600),
  readinessProbe: httpProbe('/healthz/ready', proxyPorts.status, 2, 3),
  resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '2', memory: '1Gi' } },
  securityContext: {
    ...containerSecurity,
    ...{ runAsNonRoot: true, runAsUser: proxyUser, runAsGroup: proxyUser },
    seccompProfile: { type: 'RuntimeDefault' },
  },
  volumeMounts: proxyMounts(volumeNames),
})

/** Of the program `proxy`. Where a node's labels are copied to its pods, region and zone are among them; else empty. */
const variables = (
  { region, ...place }: InjectSettings,
  { workload, labels, probes }: SidecarFacts,
): readonly Shape[] => [
  ...proxyVariables(place, {
    ...said('ISTHMUS_WORKLOAD', workload),
    ...said('ISTHMUS_LABELS', pairs(labels)),
    // It ends after the application: there is nothing left to wait for but answers under way.
    ISTHMUS_DRAIN_SECONDS_MIN: '0',
    ISTHMUS_DRAIN_SECONDS_MAX: '5',
    ...said('ISTHMUS_PROBES', probes),
    ...said('ISTHMUS_REGION', region ?? ''),
  }),
  ...(region === undefined ? [fromPod('ISTHMUS_REGION', topology('region'))] : []),
  fromPod('ISTHMUS_ZONE', topology('zone')),
]

const said = (name: string, value: string) => (value === '' ? {} : { [name]: value })

const pairs = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map((pair) => pair.join('='))
    .join(',')

const topology = (name: string): string => `metadata.labels['topology.kubernetes.io/${name}']`

export const buildVolumes = (): readonly Shape[] => proxyVolumes(volumeNames)
