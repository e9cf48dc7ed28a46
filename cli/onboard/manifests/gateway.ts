import { type KubeObject, labelsOf, namespaced, selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { containerSecurity, httpProbe, podSecurity, rollout, spread } from '#cli/onboard/manifests/pods.ts'
import { proxyMounts, proxyVariables, proxyVolumes } from '#cli/onboard/manifests/proxy.ts'
import { gatewayPort, type OnboardSettings, ports } from '#cli/onboard/manifests/settings.ts'

export const gatewayName = 'eastwest-gateway'
const volumeNames = { root: 'root', token: 'token', run: 'run' } as const

/** The east-west gateway: Envoy with `isthmus proxy` beside it, behind a load balancer. */
export const buildGateway = (settings: OnboardSettings): readonly KubeObject[] => {
  const named = (apiVersion: string, kind: string) => ({ apiVersion, kind, name: gatewayName })
  return [
    { ...namespaced(named('v1', 'ServiceAccount')), automountServiceAccountToken: false },
    gatewayService(settings),
    namespaced(named('policy/v1', 'PodDisruptionBudget'), {
      spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf(gatewayName) } },
    }),
    namespaced(named('apps/v1', 'Deployment'), { spec: deployment(settings) }),
  ]
}

/** Its label is Istio's: by it the relay, and an istiod, know the addresses of this network's gateways. */
function gatewayService({ network, gateway }: OnboardSettings): KubeObject {
  const isByHand = gateway.addresses.length > 0
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: gatewayName,
      namespace: systemNamespace,
      labels: { ...labelsOf(gatewayName), 'topology.istio.io/network': network },
      ...(Object.keys(gateway.annotations).length > 0 ? { annotations: gateway.annotations } : {}),
    },
    spec: {
      type: isByHand ? 'NodePort' : 'LoadBalancer',
      selector: selectorOf(gatewayName),
      ports: [{ name: 'tls', port: gatewayPort, protocol: 'TCP', targetPort: gatewayPort }],
    },
  }
}

const deployment = (settings: OnboardSettings) => ({
  replicas: settings.gateway.replicas,
  revisionHistoryLimit: 3,
  selector: { matchLabels: selectorOf(gatewayName) },
  strategy: rollout,
  template: {
    metadata: { labels: labelsOf(gatewayName) },
    spec: {
      serviceAccountName: gatewayName,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      // Longer than open connections are let live on.
      terminationGracePeriodSeconds: 45,
      securityContext: podSecurity,
      topologySpreadConstraints: spread(gatewayName),
      containers: [
        {
          ...{ name: 'gateway', image: settings.images.proxy, imagePullPolicy: 'IfNotPresent' },
          args: ['proxy', 'router'],
          env: variables(settings),
          ports: [
            { name: 'tls', containerPort: gatewayPort, protocol: 'TCP' },
            { name: 'http-status', containerPort: ports.proxyStatus, protocol: 'TCP' },
          ],
          readinessProbe: httpProbe('/healthz/ready', ports.proxyStatus, 2, 3),
          resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '2', memory: '1Gi' } },
          securityContext: containerSecurity,
          volumeMounts: [...proxyMounts(volumeNames), { name: 'tmp', mountPath: '/tmp' }],
        },
      ],
      volumes: [...proxyVolumes(volumeNames), { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }],
    },
  },
})

const variables = ({ region, ...place }: OnboardSettings) =>
  proxyVariables(place, { ISTHMUS_REGION: region, ISTHMUS_LABELS: `app=${gatewayName}` })
