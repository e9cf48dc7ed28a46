import { readFileSync } from 'node:fs'
import { isMap, LineCounter, parseAllDocuments } from 'yaml'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One object of a file, with where it stands for messages (`exports.yaml:3`). */
export type FileObject = {
  readonly at: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly spec: Readonly<Record<string, unknown>>
}

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
    throw new Problem('not-found', `${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function objectOf(object: Readonly<Record<string, unknown>>, at: string): FileObject {
  const metadata = (object['metadata'] ?? {}) as Readonly<Record<string, unknown>>
  const { kind } = object
  if (typeof kind !== 'string') throw new Problem('invalid', `${at}: kind is missing`)
  if (typeof metadata['name'] !== 'string') throw new Problem('invalid', `${at}: metadata.name is missing`)
  const spec = (object['spec'] ?? {}) as Readonly<Record<string, unknown>>
  return { at, kind, namespace: String(metadata['namespace'] ?? 'default'), name: metadata['name'], spec }
}

/** Where an object of a kind lives in the API. Only what the API can change. */
function placeOf(object: FileObject): { readonly path: string; readonly body: unknown } {
  if (object.kind === 'ServiceExport')
    return { path: `/v1/service-exports/${object.namespace}/${object.name}`, body: object.spec }
  if (object.kind === 'Cluster') return { path: `/v1/clusters/${object.name}`, body: object.spec }
  throw new Problem(
    'invalid',
    `${object.at}: kind ${object.kind} cannot be applied here; known: Cluster, ServiceExport`,
  )
}

/** Writes every object; one that is refused does not stop the others. Gives one line each, and whether all went well. */
export async function apply(
  centre: Centre,
  objects: readonly FileObject[],
  dryRun: boolean,
): Promise<{ lines: string[]; ok: boolean }> {
  return each(objects, async (object) => {
    const { path, body } = placeOf(object)
    const { status } = await callCentre(centre, { method: 'PUT', path: dryRun ? `${path}?dryRun=true` : path, body })
    return `${status === 201 ? 'created' : 'configured'}${dryRun ? ' (dry run)' : ''}`
  })
}

export async function remove(
  centre: Centre,
  objects: readonly FileObject[],
): Promise<{ lines: string[]; ok: boolean }> {
  return each(objects, async (object) => {
    await callCentre(centre, { method: 'DELETE', path: placeOf(object).path })
    return 'deleted'
  })
}

async function each(objects: readonly FileObject[], work: (object: FileObject) => Promise<string>) {
  const lines: string[] = []
  let ok = true
  for (const object of objects) {
    const name = `${object.kind} ${object.namespace}/${object.name}`
    try {
      lines.push(`${name} ${await work(object)}`)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      ok = false
      const reasons = error.violations.map((v) => `\n    ${v.path}: ${v.reason}`).join('')
      lines.push(`${name} refused (${object.at}): ${error.message}${reasons}`)
    }
  }
  return { lines, ok }
}
