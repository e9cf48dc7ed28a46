import { type KubeObject, labelsOf, namespaced, selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { containerSecurity, fromPod, httpProbe, podSecurity, rollout, spread } from '#cli/onboard/manifests/pods.ts'
import { gatewayPort, type OnboardSettings, ports, rootConfigMap } from '#cli/onboard/manifests/settings.ts'

export const gatewayName = 'eastwest-gateway'
const rootDir = '/var/run/secrets/istio'
const tokenDir = '/var/run/secrets/tokens'

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
          volumeMounts: [
            { name: 'root', mountPath: rootDir, readOnly: true },
            { name: 'token', mountPath: tokenDir, readOnly: true },
            { name: 'run', mountPath: '/var/run/isthmus' },
            { name: 'tmp', mountPath: '/tmp' },
          ],
        },
      ],
      volumes: [
        { name: 'root', configMap: { name: rootConfigMap } },
        { name: 'token', projected: { sources: [{ serviceAccountToken: token }] } },
        { name: 'run', emptyDir: { sizeLimit: '64Mi' } },
        { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
      ],
    },
  },
})

const token = { audience: 'istio-ca', expirationSeconds: 3600, path: 'istio-token' }

const variables = ({ cluster, mesh, network, region, trustDomain }: OnboardSettings) => [
  fromPod('POD_NAME', 'metadata.name'),
  fromPod('POD_NAMESPACE', 'metadata.namespace'),
  fromPod('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fromPod('INSTANCE_IP', 'status.podIP'),
  { name: 'ISTHMUS_RELAY', value: `relay.${systemNamespace}.svc:${ports.proxies}` },
  { name: 'ISTHMUS_RELAY_URI', value: `spiffe://${trustDomain}/ns/${systemNamespace}/sa/relay` },
  { name: 'ISTHMUS_CA_FILE', value: `${rootDir}/root-cert.pem` },
  { name: 'ISTHMUS_TOKEN_FILE', value: `${tokenDir}/${token.path}` },
  { name: 'ISTHMUS_CLUSTER', value: cluster },
  { name: 'ISTHMUS_NETWORK', value: network },
  { name: 'ISTHMUS_MESH', value: mesh },
  { name: 'ISTHMUS_REGION', value: region },
  { name: 'ISTHMUS_LABELS', value: `app=${gatewayName}` },
  { name: 'ISTHMUS_STATUS', value: `0.0.0.0:${ports.proxyStatus}` },
]
