import { isMap, isNode, isSeq, LineCounter, parseAllDocuments } from 'yaml'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import { bare, kinds, pathOf } from '#cli/object-path.ts'
import { stepsOf } from '#cli/plan.ts'
import { readBounded } from '#cli/read-bounded.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** One object of a file, with where it stands for messages (`exports.yaml:3`). */
export type FileObject = {
  readonly at: string
  readonly apiVersion: string | undefined
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly spec: Readonly<Record<string, unknown>>
  /** From the annotation that narrows an export in its own cluster. */
  readonly consumers?: readonly string[]
}

const consumersAnnotation = 'isthmus.dev/consumers'

const fileBytesMax = 4 * 1024 * 1024

const invalid = (why: string, on: string, mend: string, cause?: unknown) =>
  refusal({ kind: 'invalid', why, on, mend, cause })

/**
 * The objects of YAML or JSON files (`-` = standard input), those of a List one by one, in the order in which they are
 * to be written or deleted: as they stand there, but groups before what may name them, or after it. Throws `invalid` with
 * file and line.
 */
export function readObjects(paths: readonly string[], { isDelete = false } = {}): FileObject[] {
  const isFirst = ({ kind }: FileObject): boolean => (kind === 'SamenessGroup') !== isDelete
  return paths.flatMap(objectsIn).toSorted((a, b) => Number(isFirst(b)) - Number(isFirst(a)))
}

function objectsIn(path: string): FileObject[] {
  const bytes = readInput(path)
  if (bytes.length > fileBytesMax)
    throw invalid(`it has more than ${fileBytesMax} bytes, which is the most that is taken`, path, 'split the file')
  if (bytes.includes(0))
    throw invalid(
      'this is not UTF-8 text (UTF-16 perhaps)',
      path,
      `save it as UTF-8: iconv -f UTF-16 -t UTF-8 ${shellWord(path)}`,
    )
  const lines = new LineCounter()
  const documents = parseAllDocuments(bytes.toString('utf8'), { lineCounter: lines })
  const objects = Array.isArray(documents)
    ? documents.flatMap((document) => {
        const [fault] = document.errors
        if (fault) {
          const why = `this is not YAML: ${fault.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '')}`
          throw invalid(
            why,
            `${path}:${lines.linePos(fault.pos[0]).line}`,
            'correct that line, then repeat the command',
          )
        }
        const { contents } = document
        if (contents === null) return []
        const lineOf = (node: unknown) => lines.linePos((isNode(node) ? node.range?.[0] : undefined) ?? 0).line
        const at = `${path}:${lineOf(contents)}`
        if (!isMap(contents)) throw invalid('this is not an object', at, 'give it kind and metadata')
        const items = contents.get('items')
        if (!/List$/.test(String(contents.get('kind'))) || !isSeq(items))
          return [objectOf(document.toJS() as Record<string, unknown>, at)]
        const listed = (document.toJS() as { items: unknown[] }).items
        return listed.map((item, n) =>
          objectOf((item ?? {}) as Record<string, unknown>, `${path}:${lineOf(items.items[n])}`),
        )
      })
    : []
  if (objects.length > 0) return objects
  throw invalid('it holds no object', path, `name a file with objects of ${kinds}: -f <file>`)
}

function readInput(path: string): Buffer {
  try {
    return readBounded(path === '-' ? 0 : path, fileBytesMax)
  } catch (cause) {
    const why = `it cannot be read: ${fileFault(cause)}`
    throw invalid(why, path, 'give -f <file>, a YAML or JSON file, or - for standard input', cause)
  }
}

function objectOf(object: Readonly<Record<string, unknown>>, at: string): FileObject {
  const metadata = (object['metadata'] ?? {}) as Readonly<Record<string, unknown>>
  const { kind, apiVersion } = object
  if (typeof kind !== 'string') throw invalid('kind is missing', at, `add kind: one of ${kinds}`)
  if (typeof metadata['name'] !== 'string') throw invalid('metadata.name is missing', at, 'add metadata: { name: … }')
  const spec = (object['spec'] ?? {}) as Readonly<Record<string, unknown>>
  if (typeof spec !== 'object' || Array.isArray(spec))
    throw invalid('spec is no mapping', at, 'write its fields below spec: isthmus apply --help')
  const list = (metadata['annotations'] as Readonly<Record<string, unknown>> | undefined)?.[consumersAnnotation]
  const consumers = typeof list === 'string' ? { consumers: list.split(',').map((one) => one.trim()) } : {}
  return {
    ...{ at, apiVersion: apiVersion === undefined ? undefined : String(apiVersion), kind, spec },
    ...{ namespace: String(metadata['namespace'] ?? 'default'), name: metadata['name'], ...consumers },
  }
}

/** What is sent there. */
function bodyOf({ at, kind, spec, consumers: annotated }: FileObject): unknown {
  if (kind !== 'ServiceExport') return spec
  const consumers = spec['consumers'] ?? annotated
  if (consumers !== undefined) return { ...spec, consumers }
  throw invalid(
    'spec.consumers is missing, and an export itself is made in its own cluster, as a ServiceExport there',
    at,
    'list the clusters that may use it: spec: { consumers: [<cluster>] }, or ["*"]',
  )
}

/** What became of the objects of a file: a line for each that went well, a problem for each that did not. */
export type Outcome = { readonly lines: readonly string[]; readonly problems: readonly Problem[] }

/** `plan`: the hash of the plan that is to be done, to the byte or not at all. */
export type Way = { readonly dryRun?: boolean; readonly plan?: string }

/** Writes every object; one that is refused does not stop the others, unless they are a plan. */
export async function apply(centre: Centre, objects: readonly FileObject[], way: Way): Promise<Outcome> {
  const { dryRun = false } = way
  const steps = await plannedSteps(centre, objects, { way, isDelete: false })
  return each(objects, steps !== undefined, async (object, at) => {
    const path = pathOf(object)
    const put = { method: 'PUT', path: rehearsing(path, dryRun), body: bodyOf(object) }
    const answer = await callCentre(centre, { ...put, ...planned(steps?.[at]) })
    const done =
      answer.status === 201
        ? 'created'
        : object.kind === 'Cluster'
          ? 'exists, unchanged'
          : isAsBefore(answer.body)
            ? 'unchanged'
            : 'configured'
    return dryRun ? `${done} (dry run)${rehearsed(answer.body)}` : `${done}${warned(answer.body)}`
  })
}

/** Deletes every object; one that is refused does not stop the others, unless they are a plan. */
export async function remove(centre: Centre, objects: readonly FileObject[], way: Way): Promise<Outcome> {
  const { dryRun = false } = way
  const steps = await plannedSteps(centre, objects, { way, isDelete: true })
  return each(objects, steps !== undefined, async (object, at) => {
    const path = pathOf(object)
    if (!dryRun) {
      await callCentre(centre, { method: 'DELETE', path, ...planned(steps?.[at]) })
      return 'deleted'
    }
    // The API rehearses lists of consumers; that a cluster is there is all that can be said of one.
    const method = object.kind === 'Cluster' ? 'GET' : 'DELETE'
    const answer = await callCentre(centre, { method, path: method === 'GET' ? path : rehearsing(path, true) })
    return `deleted (dry run)${method === 'GET' ? '' : rehearsed(answer.body)}`
  })
}

async function plannedSteps(
  centre: Centre,
  objects: readonly FileObject[],
  { way, isDelete }: { readonly way: Way; readonly isDelete: boolean },
): Promise<readonly string[] | undefined> {
  return way.plan === undefined ? undefined : await stepsOf(centre, objects, { hash: way.plan, isDelete })
}

const planned = (hash: string | undefined) => (hash === undefined ? {} : { headers: { 'if-plan': hash } })

const rehearsing = (path: string, dryRun: boolean): string =>
  dryRun ? `${path}${path.includes('?') ? '&' : '?'}dryRun=true` : path

const isAsBefore = (body: unknown): boolean => (body as { unchanged?: unknown } | undefined)?.unchanged === true

/** What the author of a change should know. */
function warned(body: unknown): string {
  const { warnings } = (body ?? {}) as { warnings?: unknown }
  return Array.isArray(warnings) ? warnings.map((one) => `\n    warning: ${String(one)}`).join('') : ''
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

async function each(
  objects: readonly FileObject[],
  isPlan: boolean,
  work: (object: FileObject, at: number) => Promise<string>,
): Promise<Outcome> {
  const lines: string[] = []
  const problems: Problem[] = []
  for (const [place, object] of objects.entries()) {
    const { at, kind, namespace, name } = object
    const whole = `${kind} ${bare.includes(kind) ? '' : `${namespace}/`}${name}`
    try {
      lines.push(`${whole} ${await work(object, place)}`)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      // Where nobody answers, all others would wait for nothing.
      if (error.extra['away'] === true) throw error
      const mend = mendOf(error, object)
      problems.push(placed(withPlace(error, `${at} (${whole})`), mend === undefined ? {} : { mend }))
      if (isPlan) break
    }
  }
  return { lines, problems }
}

/** The line of the file says more than the URL. */
function withPlace({ kind, message, violations, extra, cause }: Problem, on: string): Problem {
  return new Problem(kind, message, { violations, cause, extra: { ...extra, on } })
}

function mendOf({ kind }: Problem, object: FileObject): string | undefined {
  if (kind === 'conflict' && object.kind === 'SamenessGroup') return 'isthmus get global-traffic-policies'
  if (kind === 'invalid') return 'correct the file, then repeat the command'
  if (kind !== 'not-found') return undefined
  return object.kind === 'Cluster' ? 'isthmus get clusters' : 'isthmus get service-exports'
}
