import { stringify } from 'yaml'
import { buildManifests } from '#cli/onboard/manifests/build.ts'
import { type KubeObject, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { relaySettingsText } from '#cli/onboard/manifests/relay.ts'
import { gatewayPort, type OnboardSettings } from '#cli/onboard/manifests/settings.ts'

/** Words that stand for values until the YAML is written, and what is written then. */
const values = {
  'value-cluster': '.Values.cluster',
  'value-mesh': '.Values.mesh',
  'value-trust-domain': 'include "isthmus.trustDomain" .',
  'value-region': '.Values.region',
  'value-network': 'include "isthmus.network" .',
  'value-relay-image': '.Values.images.relay',
  'value-proxy-image': '.Values.images.proxy',
  'value-cidr': '.Values.clusterSetCidr',
} as const
const annotationKey = 'value-annotations'
const replicas = 77

const settings: OnboardSettings = {
  ...{ cluster: 'value-cluster', mesh: 'value-mesh', trustDomain: 'value-trust-domain' },
  ...{ region: 'value-region', network: 'value-network', clusterSetCidr: 'value-cidr' },
  images: { relay: 'value-relay-image', proxy: 'value-proxy-image' },
  gateway: { addresses: [], annotations: { [annotationKey]: '' }, replicas },
}

/**
 * The Helm chart, each file by its path in it: the objects of `buildManifests` with the settings left open. The namespace
 * is made by whoever installs it.
 */
export function buildChart(version: string): ReadonlyMap<string, string> {
  const objects = buildManifests(settings).filter(({ kind }) => kind !== 'Namespace')
  const isDefinition = ({ kind }: KubeObject): boolean => kind === 'CustomResourceDefinition'
  return new Map([
    ['Chart.yaml', chartFile(version)],
    ['values.yaml', valuesFile],
    ...objects
      .filter(isDefinition)
      .map((one): [string, string] => [`crds/${one.metadata.name}.yaml`, stringify(one, plain)]),
    ['templates/_settings.tpl', settingsTemplate()],
    ['templates/checks.yaml', checks],
    ...objects
      .filter((one) => !isDefinition(one))
      .map((one): [string, string] => [`templates/${fileOf(one)}`, templateOf(one)]),
  ])
}

const plain = { lineWidth: 0, aliasDuplicateObjects: false } as const

const fileOf = ({ kind, metadata }: KubeObject): string =>
  `${metadata.name}-${kind.replace(/[a-z](?=[A-Z])/g, '$&-').toLowerCase()}.yaml`

/** Every text is quoted: a value may look like a number. */
function templateOf(object: KubeObject): string {
  const open: unknown = JSON.parse(
    JSON.stringify(object).replaceAll(JSON.stringify(relaySettingsText(settings)), '"value-settings"'),
  )
  const text = stringify(open, { ...plain, defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' })
    .replaceAll('"value-settings"', '{{ include "isthmus.settings" . | quote }}')
    .replace(
      new RegExp(`^( *)annotations:\\n *${annotationKey}: ""\\n`, 'm'),
      (_, indent: string) =>
        `{{- with .Values.gateway.annotations }}\n${indent}annotations:\n{{ toYaml . | indent ${indent.length + 2} }}\n{{- end }}\n`,
    )
    .replace(`replicas: ${replicas}`, 'replicas: {{ .Values.gateway.replicas }}')
    .replace(
      'type: "LoadBalancer"',
      'type: {{ if .Values.gateway.addresses }}"NodePort"{{ else }}"LoadBalancer"{{ end }}',
    )
  return filled(text)
}

/** `isthmus.yaml`, and what stands where a value is left empty. */
const settingsTemplate = (): string => `{{- define "isthmus.network" -}}
{{ .Values.network | default .Values.cluster }}
{{- end }}
{{- define "isthmus.trustDomain" -}}
{{ .Values.trustDomain | default (printf "%s.%s" .Values.cluster .Values.mesh) }}
{{- end }}
{{- define "isthmus.settings" -}}
${filled(relaySettingsText(settings))
  .replace('gateways: []', 'gateways: {{ .Values.gateway.addresses | toJson }}')
  .replace(/^ *clusterSetCidr:.*\n/m, (line) => `{{- if .Values.clusterSetCidr }}\n${line}{{- end }}\n`)}{{ end }}
`

const filled = (text: string): string =>
  Object.entries(values).reduce((so, [word, expression]) => so.replaceAll(word, `{{ ${expression} }}`), text)

/** Says what is missing, and that another namespace would not do: proxies dial the relay by its name in this one. */
const checks = `{{- if ne .Release.Namespace "${systemNamespace}" }}
{{- fail "install it with --namespace ${systemNamespace} --create-namespace" }}
{{- end }}
${['cluster', 'mesh', 'region', 'images.relay', 'images.proxy']
  .map((name) => `{{- if not .Values.${name} }}\n{{- fail "${name} is missing: --set ${name}=…" }}\n{{- end }}\n`)
  .join('')}`

const chartFile = (version: string): string => `apiVersion: v2
name: isthmus
description: A member cluster of an Isthmus mesh, its relay and its east-west gateway
type: application
version: ${version}
appVersion: ${version}
kubeVersion: '>=1.30.0-0'
`

const valuesFile = `# The settings of one cluster. Its relay joins with a token: isthmus token create <cluster>, put into the Secret relay-join
# (key token) of namespace ${systemNamespace}; isthmus cluster join does that too, and finds all else in place.
cluster: '' # as it was created at the centre: isthmus cluster create <cluster>
mesh: '' # isthmus get meshes
region: ''
network: '' # clusters of one network reach each other's pods; empty = one of its own, named as the cluster
trustDomain: '' # isthmus get clusters; empty = <cluster>.<mesh>
clusterSetCidr: '' # IPv4 range of which imported services get addresses; empty = they get none
images:
  relay: ''
  proxy: ''
gateway:
  replicas: 2
  annotations: {} # of its Service, for the load balancer
  addresses: [] # of a load balancer made by hand: [{ address: 203.0.113.9, port: ${gatewayPort} }]
`
