import { systemNamespace } from '#cli/onboard/manifests/object.ts'
import { fromPod } from '#cli/onboard/manifests/pods.ts'
import { type OnboardSettings, ports, rootConfigMap } from '#cli/onboard/manifests/settings.ts'

// What a pod with an `isthmus proxy` has, whether it is a gateway or a sidecar.

const rootDir = '/var/run/secrets/istio'
const tokenDir = '/var/run/secrets/tokens'
const token = { audience: 'istio-ca', expirationSeconds: 3600, path: 'istio-token' }

export type ProxyPlace = Pick<OnboardSettings, 'cluster' | 'mesh' | 'network' | 'trustDomain'>

/** Whom it dials, whom it trusts, as whom it comes, and where it is; then what is its own. */
export const proxyVariables = (
  { cluster, mesh, network, trustDomain }: ProxyPlace,
  own: Readonly<Record<string, string>>,
) => [
  fromPod('POD_NAME', 'metadata.name'),
  fromPod('POD_NAMESPACE', 'metadata.namespace'),
  fromPod('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fromPod('INSTANCE_IP', 'status.podIP'),
  ...Object.entries({
    ISTHMUS_RELAY: `relay.${systemNamespace}.svc:${ports.proxies}`,
    ISTHMUS_RELAY_URI: `spiffe://${trustDomain}/ns/${systemNamespace}/sa/relay`,
    ISTHMUS_CA_FILE: `${rootDir}/root-cert.pem`,
    ISTHMUS_TOKEN_FILE: `${tokenDir}/${token.path}`,
    ISTHMUS_CLUSTER: cluster,
    ISTHMUS_NETWORK: network,
    ISTHMUS_MESH: mesh,
    ...own,
    ISTHMUS_STATUS: `0.0.0.0:${ports.proxyStatus}`,
  }).map(([name, value]) => ({ name, value })),
]

/** Roots, the projected token, and the proxy's own folder, under a name each. */
export const proxyVolumes = (names: ProxyVolumeNames) => [
  { name: names.root, configMap: { name: rootConfigMap } },
  { name: names.token, projected: { sources: [{ serviceAccountToken: token }] } },
  { name: names.run, emptyDir: { sizeLimit: '64Mi' } },
]

export const proxyMounts = (names: ProxyVolumeNames) => [
  { name: names.root, mountPath: rootDir, readOnly: true },
  { name: names.token, mountPath: tokenDir, readOnly: true },
  { name: names.run, mountPath: '/var/run/isthmus' },
]

type ProxyVolumeNames = { readonly root: string; readonly token: string; readonly run: string }
