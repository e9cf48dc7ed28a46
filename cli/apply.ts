import { readFileSync } from 'node:fs'
import { isMap, LineCounter, parseAllDocuments } from 'yaml'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { fileFault } from '#cli/file-fault.ts'

import { Problem } from '#mesh/model/problem.ts'

/** One object of a file, with where it stands for messages (`exports.yaml:3`). */
export type FileObject = {
  readonly at: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly spec: Readonly<Record<string, unknown>>
  /** From the annotation that narrows an export in its own cluster. */
  readonly consumers?: readonly string[]
}

const consumersAnnotation = 'isthmus.dev/consumers'

const fileBytesMax = 4 * 1024 * 1024

/** The objects of a YAML or JSON file (`-` = standard input). Throws `invalid` that names file and line. */
export function readObjects(path: string): FileObject[] {
  const bytes = readInput(path)
  if (bytes.length > fileBytesMax)
    throw new Problem('invalid', `${path} has ${bytes.length} bytes; at most ${fileBytesMax}`)
  if (bytes.includes(0)) throw new Problem('invalid', `${path} is not UTF-8 text (UTF-16 perhaps): save it as UTF-8`)
  const lines = new LineCounter()
  const documents = parseAllDocuments(bytes.toString('utf8'), { lineCounter: lines })
  if (!Array.isArray(documents)) return []
  return documents.flatMap((document) => {
    const [fault] = document.errors
    if (fault)
      throw new Problem('invalid', `${path}:${lines.linePos(fault.pos[0]).line}: ${fault.message.split('\n')[0]}`)
    const offset = document.contents?.range?.[0] ?? 0
    const at = `${path}:${lines.linePos(offset).line}`
    if (document.contents === null) return []
    if (!isMap(document.contents)) throw new Problem('invalid', `${at}: this is not an object with kind and metadata`)
    return [objectOf(document.toJS() as Record<string, unknown>, at)]
  })
}

function readInput(path: string): Buffer {
  try {
    return readFileSync(path === '-' ? 0 : path)
  } catch (cause) {
    throw new Problem(
      'invalid',
      `${path} cannot be read: ${fileFault(cause)}. Give -f <file>, a YAML or JSON file, or - for standard input`,
      { cause },
    )
  }
}

function objectOf(object: Readonly<Record<string, unknown>>, at: string): FileObject {
  const metadata = (object['metadata'] ?? {}) as Readonly<Record<string, unknown>>
  const { kind } = object
  if (typeof kind !== 'string') throw new Problem('invalid', `${at}: kind is missing`)
  if (typeof metadata['name'] !== 'string') throw new Problem('invalid', `${at}: metadata.name is missing`)
  const spec = (object['spec'] ?? {}) as Readonly<Record<string, unknown>>
  const list = (metadata['annotations'] as Readonly<Record<string, unknown>> | undefined)?.[consumersAnnotation]
  const consumers = typeof list === 'string' ? { consumers: list.split(',').map((one) => one.trim()) } : {}
  return { at, kind, namespace: String(metadata['namespace'] ?? 'default'), name: metadata['name'], spec, ...consumers }
}

/** Where an object of a kind lives in the API. Only kinds that the API can change. */
function pathOf({ at, kind, namespace, name, spec }: FileObject): string {
  const part = encodeURIComponent
  if (kind === 'Cluster') return `/v1/clusters/${part(name)}`
  const of = typeof spec['cluster'] === 'string' ? `?cluster=${part(spec['cluster'])}` : ''
  if (kind === 'ServiceExport') return `/v1/service-exports/${part(namespace)}/${part(name)}${of}`
  throw new Problem(
    'invalid',
    `${at}: the centre keeps no ${kind}, only Cluster and ServiceExport; others belong among the manifests of a cluster`,
  )
}

/** What is sent there. */
function bodyOf({ at, kind, spec, consumers: annotated }: FileObject): unknown {
  if (kind !== 'ServiceExport') return spec
  const consumers = spec['consumers'] ?? annotated
  if (consumers !== undefined) return { ...spec, consumers }
  throw new Problem(
    'invalid',
    `${at}: spec.consumers is missing: list the clusters that may use it, or ["*"]. ` +
      'An export itself is made in its own cluster, as a ServiceExport there',
  )
}

/** Writes every object; one that is refused does not stop the others. Gives one line each, and whether all went well. */
export async function apply(
  centre: Centre,
  objects: readonly FileObject[],
  dryRun: boolean,
): Promise<{ lines: string[]; ok: boolean }> {
  return each(objects, async (object) => {
    const path = pathOf(object)
    const body = bodyOf(object)
    const asked = dryRun ? `${path}${path.includes('?') ? '&' : '?'}dryRun=true` : path
    const answer = await callCentre(centre, { method: 'PUT', path: asked, body })
    const done = answer.status === 201 ? 'created' : object.kind === 'Cluster' ? 'exists, unchanged' : 'configured'
    return dryRun ? `${done} (dry run)${rehearsed(answer.body)}` : done
  })
}

export async function remove(
  centre: Centre,
  objects: readonly FileObject[],
): Promise<{ lines: string[]; ok: boolean }> {
  return each(objects, async (object) => {
    await callCentre(centre, { method: 'DELETE', path: pathOf(object) })
    return 'deleted'
  })
}

/** What a dry run says would change in each cluster's config. */
function rehearsed(body: unknown): string {
  const { changes } = body as { changes?: readonly Readonly<Record<string, unknown>>[] }
  const words = { added: '+', removed: '-', changed: '~' } as const
  const lines = (changes ?? []).flatMap((one) =>
    Object.entries(words).flatMap(([name, sign]) => {
      const keys = one[name]
      return Array.isArray(keys) ? keys.map((key) => `\n    ${String(one['cluster'])}: ${sign} ${String(key)}`) : []
    }),
  )
  return changes && lines.length === 0 ? ': no cluster would see a change' : lines.join('')
}

async function each(objects: readonly FileObject[], work: (object: FileObject) => Promise<string>) {
  const lines: string[] = []
  let ok = true
  for (const object of objects) {
    const name = `${object.kind} ${object.kind === 'Cluster' ? '' : `${object.namespace}/`}${object.name}`
    try {
      lines.push(`${name} ${await work(object)}`)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      ok = false
      const reasons =
        error.violations.length > 1 ? error.violations.map((v) => `\n    ${v.path}: ${v.reason}`).join('') : ''
      const where = error.message.startsWith(object.at) ? '' : ` (${object.at})`
      lines.push(`${name} refused${where}: ${error.message}${reasons}`)
    }
  }
  return { lines, ok }
}
