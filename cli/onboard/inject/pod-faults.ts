import { type Shape, shapeAt, shapesAt, textAt } from '#cli/onboard/inject/kube-shape.ts'
import { openPorts, proxyPorts, proxyUser } from '#cli/onboard/inject/settings.ts'
import { names, volumeNames } from '#cli/onboard/inject/sidecar.ts'

/** Why a pod cannot be given a sidecar; empty where it can. Each says what is to be changed. */
export function podFaults(template: Shape): readonly string[] {
  const spec = shapeAt(template, 'spec')
  const containers = [...shapesAt(spec, 'initContainers'), ...shapesAt(spec, 'containers')]
  const ours: readonly number[] = [...Object.values(proxyPorts), ...openPorts].filter((port) => port > 1023)
  return [
    ...(shapesAt(spec, 'containers').length === 0 ? ['it has no containers'] : []),
    ...(spec['hostNetwork'] === true
      ? [
          'it uses the network of its node (hostNetwork: true), whose connections are not to be redirected; leave it out',
        ]
      : []),
    ...(isWindows(spec) ? ['it is for Windows nodes: the sidecar is a program for Linux'] : []),
    ...(wantsIstio(template)
      ? [
          'it asks for Istio’s own sidecar (sidecar.istio.io/inject: "true"), and two cannot be in one pod; take that out',
        ]
      : []),
    ...(userOf(spec) === proxyUser
      ? [
          `it runs as user ${proxyUser}, which is the proxy’s: nothing that it sends would be redirected; give it another`,
        ]
      : []),
    ...containers.flatMap((one) => containerFaults(one, ours)),
    ...shapesAt(spec, 'volumes')
      .filter(({ name }) => Object.values<unknown>(volumeNames).includes(name))
      .map(({ name }) => `it has a volume ${String(name)} already, which is one of ours; give it another name`),
  ]
}

function containerFaults(container: Shape, ours: readonly number[]): readonly string[] {
  const name = textAt(container, 'name')
  const taken = shapesAt(container, 'ports').filter(({ containerPort }) => ours.includes(Number(containerPort)))
  return [
    ...(Object.values<string>(names).includes(name) || name === 'istio-init'
      ? [`it has a container ${name} already: it was given a sidecar by other means; take that one out`]
      : []),
    ...(userOf(container) === proxyUser
      ? [`its container ${name} runs as user ${proxyUser}, which is the proxy’s; give it another`]
      : []),
    ...taken.map(
      ({ containerPort }) =>
        `its container ${name} has port ${String(containerPort)}, which is the proxy’s; give it another`,
    ),
  ]
}

const userOf = (of: Shape): number => Number(shapeAt(of, 'securityContext')['runAsUser'])

const isWindows = (spec: Shape): boolean =>
  [textAt(shapeAt(spec, 'os'), 'name'), textAt(shapeAt(spec, 'nodeSelector'), 'kubernetes.io/os')].includes('windows')

const istioWord = 'sidecar.istio.io/inject'

/** As Istio reads it: the label, else the annotation. */
const istioSays = (template: Shape): string => {
  const metadata = shapeAt(template, 'metadata')
  return textAt(shapeAt(metadata, 'labels'), istioWord) || textAt(shapeAt(metadata, 'annotations'), istioWord)
}

const wantsIstio = (template: Shape): boolean => istioSays(template) === 'true'

/** Its author wants no sidecar at all. */
export const isOptedOut = (template: Shape): boolean => istioSays(template) === 'false'
