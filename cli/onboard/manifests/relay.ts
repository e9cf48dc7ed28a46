import { type KubeObject, labelsOf, namespaced, selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { containerSecurity, fromPod, httpProbe, podSecurity, rollout, spread } from '#cli/onboard/manifests/pods.ts'
import { joinSecret, type OnboardSettings, ports, relaySecret, rootConfigMap } from '#cli/onboard/manifests/settings.ts'

const settingsDir = '/etc/isthmus'
const stateDir = '/var/lib/isthmus'
const joinDir = '/var/run/isthmus/join'

/** `isthmus.yaml` of a relay in a cluster. Every text is quoted, so that any name is one. */
export function relaySettingsText({ cluster, region, network, gateway, clusterSetCidr }: OnboardSettings): string {
  const quoted = (text: string): string => JSON.stringify(text)
  const status = `statusAddress: 0.0.0.0, statusPort: ${ports.status}`
  const gateways = gateway.addresses.map(({ address, port }) => ({ address, port }))
  return [
    `cluster: ${quoted(cluster)}`,
    `region: ${quoted(region)}`,
    `network: ${quoted(network)}`,
    `gateways: ${JSON.stringify(gateways)}`,
    `relay: { address: 0.0.0.0, port: ${ports.proxies}, handOnPort: ${ports.handOn}, ${status} }`,
    'tokens: { audience: istio-ca }',
    'kubernetes:',
    `  namespace: ${systemNamespace}`,
    `  secret: ${relaySecret}`,
    `  rootConfigMap: ${rootConfigMap}`,
    ...(clusterSetCidr === undefined ? [] : [`  clusterSetCidr: ${quoted(clusterSetCidr)}`]),
    `state: ${stateDir}`,
    '',
  ].join('\n')
}

/** The relay: two replicas, of which one reports; both serve proxies and answer for clusterset.local. */
export const buildRelay = (settings: OnboardSettings): readonly KubeObject[] => {
  const text = relaySettingsText(settings)
  return [
    namespaced({ apiVersion: 'v1', kind: 'ServiceAccount', name: 'relay' }),
    namespaced({ apiVersion: 'v1', kind: 'ConfigMap', name: 'relay' }, { data: { 'isthmus.yaml': text } }),
    namespaced({ apiVersion: 'v1', kind: 'Service', name: 'relay' }, { spec: service }),
    namespaced(
      { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', name: 'relay' },
      { spec: { maxUnavailable: 1, selector: { matchLabels: selectorOf('relay') } } },
    ),
    namespaced({ apiVersion: 'apps/v1', kind: 'Deployment', name: 'relay' }, { spec: deployment(settings, text) }),
  ]
}

const service = {
  type: 'ClusterIP',
  selector: selectorOf('relay'),
  ports: [
    { name: 'grpc-xds', port: ports.proxies, protocol: 'TCP', targetPort: ports.proxies },
    { name: 'dns', port: 53, protocol: 'UDP', targetPort: ports.dns },
    { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: ports.dns },
  ],
}

/** The text of the settings stands in the pods' annotations: pods follow it by a rollout. */
const deployment = ({ images }: OnboardSettings, text: string) => ({
  replicas: 2,
  revisionHistoryLimit: 3,
  selector: { matchLabels: selectorOf('relay') },
  strategy: rollout,
  template: {
    metadata: { labels: labelsOf('relay'), annotations: { 'isthmus.dev/settings': text } },
    spec: {
      serviceAccountName: 'relay',
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 30,
      securityContext: podSecurity,
      topologySpreadConstraints: spread('relay'),
      containers: [
        {
          ...{ name: 'relay', image: images.relay, imagePullPolicy: 'IfNotPresent' },
          args: ['relay', '--dir', settingsDir, '--join-file', `${joinDir}/token`],
          env: [
            fromPod('POD_NAME', 'metadata.name'),
            fromPod('POD_NAMESPACE', 'metadata.namespace'),
            fromPod('POD_IP', 'status.podIP'),
            { name: 'MALLOC_ARENA_MAX', value: '2' },
          ],
          ports: [
            { name: 'grpc-xds', containerPort: ports.proxies, protocol: 'TCP' },
            { name: 'hand-on', containerPort: ports.handOn, protocol: 'TCP' },
            { name: 'http-status', containerPort: ports.status, protocol: 'TCP' },
            { name: 'dns', containerPort: ports.dns, protocol: 'UDP' },
            { name: 'dns-tcp', containerPort: ports.dns, protocol: 'TCP' },
          ],
          readinessProbe: httpProbe('/readyz', ports.status, 2, 3),
          livenessProbe: httpProbe('/healthz', ports.status, 10, 6),
          resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { cpu: '2', memory: '1Gi' } },
          securityContext: containerSecurity,
          volumeMounts: [
            { name: 'settings', mountPath: settingsDir, readOnly: true },
            { name: 'join', mountPath: joinDir, readOnly: true },
            { name: 'state', mountPath: stateDir },
            { name: 'tmp', mountPath: '/tmp' },
          ],
        },
      ],
      volumes: [
        { name: 'settings', configMap: { name: 'relay' } },
        // Gone once the cluster has joined.
        { name: 'join', secret: { secretName: joinSecret, optional: true } },
        { name: 'state', emptyDir: { sizeLimit: '1Gi' } },
        { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
      ],
    },
  },
})
