import { capturedBy } from '#cli/onboard/inject/captured.ts'
import { isShape, type Shape, shapeAt, textAt, withKey } from '#cli/onboard/inject/kube-shape.ts'
import { partingsOf, withoutParting, withParting } from '#cli/onboard/inject/parting.ts'
import { podFaults } from '#cli/onboard/inject/pod-faults.ts'
import { restoreProbes, rewriteProbes } from '#cli/onboard/inject/probes.ts'
import type { InjectSettings } from '#cli/onboard/inject/settings.ts'
import { buildContainers, buildVolumes, names, volumeNames } from '#cli/onboard/inject/sidecar.ts'

/** Says that we were here, and what stood there before: JSON. */
export const beforeAnnotation = 'isthmus.dev/injected'

type Before = {
  /** Mappings and lists that there were none of. */
  readonly made: readonly string[]
  /** Labels and annotations of ours, each with what it was; null = it was not there. */
  readonly labels: Readonly<Record<string, string | null>>
  readonly annotations: Readonly<Record<string, string | null>>
  readonly probes: Readonly<Record<string, Readonly<Record<string, Shape>>>>
  /** Containers that wait before they end because we said so. */
  readonly partings: Readonly<Record<string, boolean>>
}

const labelsFor = ({ cni }: InjectSettings): Readonly<Record<string, string>> => ({
  'security.istio.io/tlsMode': 'istio',
  // Istio's webhook leaves such a pod alone; so would its CNI plugin.
  ...(cni ? {} : { 'sidecar.istio.io/inject': 'false' }),
})

/** By these Istio's CNI plugin, and its webhook, know that the pod has a sidecar. */
const annotationsFor = ({ cni }: InjectSettings): Readonly<Record<string, string>> =>
  cni
    ? {
        'sidecar.istio.io/status': JSON.stringify({
          ...{ initContainers: [names.cniProxy], containers: [], volumes: Object.values(volumeNames) },
        }),
      }
    : {}

/** A pod template with the sidecar, or why it cannot have one. `workload` is the name for telemetry. */
export function injected(
  template: Shape,
  settings: InjectSettings,
  workload: string,
): { readonly template: Shape; readonly faults: readonly string[] } {
  const clean = removed(template)
  const metadata = shapeAt(clean, 'metadata')
  const captured = capturedBy(shapeAt(metadata, 'annotations'))
  const faults = [...podFaults(clean), ...captured.faults]
  if (faults.length > 0) return { template, faults }
  const spec = shapeAt(clean, 'spec')
  const [inits, mains] = [probed(spec, 'initContainers'), probed(spec, 'containers')]
  const made = { ...inits.made, ...mains.made }
  const facts = {
    ...{ workload, labels: textsOf(shapeAt(metadata, 'labels')), captured: captured.flags },
    probes: Object.keys(made).length === 0 ? '' : JSON.stringify(made),
  }
  const [labels, annotations] = [labelsFor(settings), annotationsFor(settings)]
  const before: Before = {
    made: [
      ...(isShape(clean['metadata']) ? [] : ['metadata']),
      ...['labels', 'annotations'].filter((key) => !isShape(metadata[key])),
      ...['initContainers', 'volumes'].filter((key) => !Array.isArray(spec[key])),
    ],
    labels: former(shapeAt(metadata, 'labels'), labels),
    annotations: former(shapeAt(metadata, 'annotations'), annotations),
    probes: { ...inits.before, ...mains.before },
    partings: partingsOf(mains.containers),
  }
  return {
    faults,
    template: {
      ...clean,
      metadata: {
        ...metadata,
        labels: { ...shapeAt(metadata, 'labels'), ...labels },
        annotations: {
          ...shapeAt(metadata, 'annotations'),
          ...annotations,
          [beforeAnnotation]: JSON.stringify(before),
        },
      },
      spec: {
        ...spec,
        initContainers: [...buildContainers(settings, facts), ...inits.containers],
        containers: mains.containers.map((one) => (isShape(one) ? withParting(one) : one)),
        volumes: [...listAt(spec, 'volumes'), ...buildVolumes()],
      },
    },
  }
}

/** What the template was before; itself where it has no sidecar of ours. */
export function removed(template: Shape): Shape {
  const before = beforeOf(template)
  if (before === undefined) return template
  const metadata = shapeAt(template, 'metadata')
  const spec = shapeAt(template, 'spec')
  const { [beforeAnnotation]: _, ...annotations } = shapeAt(metadata, 'annotations')
  const [ours, volumes] = [Object.values<unknown>(names), Object.values<unknown>(volumeNames)]
  const restored = (one: unknown): unknown =>
    isShape(one)
      ? withoutParting(
          restoreProbes(one, shapeAt(before.probes, textAt(one, 'name'))),
          before.partings[textAt(one, 'name')],
        )
      : one
  const kept = (of: Shape, key: string, value: unknown): Shape =>
    withKey(of, key, before.made.includes(key) && isEmpty(value) ? undefined : value)
  const inits = listAt(spec, 'initContainers').filter((one) => !(isShape(one) && ours.includes(one['name'])))
  let nextMetadata = kept(metadata, 'labels', back(shapeAt(metadata, 'labels'), before.labels))
  nextMetadata = kept(nextMetadata, 'annotations', back(annotations, before.annotations))
  let nextSpec = kept(spec, 'initContainers', inits.map(restored))
  nextSpec = kept({ ...nextSpec, containers: listAt(spec, 'containers').map(restored) }, 'volumes', [
    ...listAt(spec, 'volumes').filter((one) => !(isShape(one) && volumes.includes(one['name']))),
  ])
  return kept({ ...template, spec: nextSpec }, 'metadata', nextMetadata)
}

export const hasSidecar = (template: Shape): boolean => beforeOf(template) !== undefined

function beforeOf(template: Shape): Before | undefined {
  const text = shapeAt(shapeAt(template, 'metadata'), 'annotations')[beforeAnnotation]
  if (typeof text !== 'string') return undefined
  try {
    return parseBefore(JSON.parse(text))
  } catch {
    return undefined
  }
}

function parseBefore(value: unknown): Before | undefined {
  if (!isShape(value) || !Array.isArray(value['made'])) return undefined
  return {
    made: value['made'].map(String),
    labels: shapeAt(value, 'labels') as Before['labels'],
    annotations: shapeAt(value, 'annotations') as Before['annotations'],
    probes: shapeAt(value, 'probes') as Before['probes'],
    partings: shapeAt(value, 'partings') as Before['partings'],
  }
}

function probed(spec: Shape, key: string) {
  const all = listAt(spec, key).map((one) => (isShape(one) ? rewriteProbes(one) : undefined))
  const named = all.filter((one) => one !== undefined)
  return {
    containers: listAt(spec, key).map((one, at) => all[at]?.container ?? one),
    made: Object.assign({}, ...named.map(({ made }) => made)) as Readonly<Record<string, Shape>>,
    before: Object.fromEntries(
      named
        .filter(({ before }) => Object.keys(before).length > 0)
        .map(({ container, before }) => [textAt(container, 'name'), before]),
    ),
  }
}

const listAt = (of: Shape, key: string): readonly unknown[] => {
  const value = of[key]
  return Array.isArray(value) ? value : []
}

const former = (of: Shape, ours: Readonly<Record<string, string>>): Readonly<Record<string, string | null>> =>
  Object.fromEntries(Object.keys(ours).map((key) => [key, Object.hasOwn(of, key) ? textAt(of, key) : null]))

function back(of: Shape, before: Readonly<Record<string, string | null>>): Shape {
  let next = of
  for (const [key, value] of Object.entries(before)) next = withKey(next, key, value ?? undefined)
  return next
}

const textsOf = (of: Shape): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.keys(of).map((key) => [key, textAt(of, key)]))

const isEmpty = (value: unknown): boolean =>
  Array.isArray(value) ? value.length === 0 : isShape(value) && Object.keys(value).length === 0
