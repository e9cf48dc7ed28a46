import { isShape, type Shape, shapeAt, textAt } from '#cli/onboard/inject/kube-shape.ts'

/** A pod template, or a Pod, where it was found. */
export type Found = {
  /** `Deployment shop/reviews`. */
  readonly name: string
  /** The workload's own name. */
  readonly workload: string
  readonly namespace: string
  readonly template: Shape
}

/** By group and kind, the way to the pod template. */
const ways: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  ReplicationController: ['spec', 'template'],
  'apps/Deployment': ['spec', 'template'],
  'apps/StatefulSet': ['spec', 'template'],
  'apps/DaemonSet': ['spec', 'template'],
  'apps/ReplicaSet': ['spec', 'template'],
  'batch/Job': ['spec', 'template'],
  'batch/CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
}

/** The object with each of its pod templates as `change` gives it back; itself where it has none. */
export function templatesIn(object: Shape, change: (found: Found) => Shape): Shape {
  const kind = textAt(object, 'kind')
  const items = object['items']
  if (kind.endsWith('List') && Array.isArray(items))
    return { ...object, items: items.map((one: unknown) => (isShape(one) ? templatesIn(one, change) : one)) }
  const [group = '', version] = textAt(object, 'apiVersion').split('/')
  const way = ways[version === undefined ? kind : `${group}/${kind}`]
  if (way === undefined) return object
  const metadata = shapeAt(object, 'metadata')
  const workload = textAt(metadata, 'name') || textAt(metadata, 'generateName').replace(/-+$/, '')
  const namespace = textAt(metadata, 'namespace')
  const name = `${kind} ${namespace === '' ? '' : `${namespace}/`}${workload}`
  return at(object, way, (template) => change({ name, workload, namespace, template }))
}

function at(object: Shape, [key, ...rest]: readonly string[], change: (template: Shape) => Shape): Shape {
  if (key === undefined) return change(object)
  const inner = object[key]
  return isShape(inner) ? { ...object, [key]: at(inner, rest, change) } : object
}
