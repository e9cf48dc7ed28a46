import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, visit } from 'yaml'
import type { KubeObject } from '#gateway/watch/kube-object.ts'
import { parseObject } from '#gateway/watch/parse-object.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

/** An object and where it stands: `bookinfo/reviews.yaml:12`. */
export type PlacedObject = { readonly id: string; readonly at: string; readonly object: KubeObject }

export type ParsedFile = {
  readonly objects: readonly PlacedObject[]
  readonly rejected: readonly RejectedObject[]
  /** Objects that the file does hold but that could not be used. */
  readonly invalid: ReadonlySet<string>
  /** True where a part of the file could not be told to be any object: nothing can be concluded from what is missing. */
  readonly isUnclear: boolean
}

export const unclearFile = (at: string, reason: string): ParsedFile => ({
  objects: [],
  rejected: [{ at, object: 'file', reason }],
  invalid: new Set(),
  isUnclear: true,
})

/** What may be expanded by aliases in one document: enough for anchors written by hand, too little for a bomb. */
const aliasesMax = 100

/**
 * Reads a file of Kubernetes objects: several documents, `List` kinds. `path` is for messages. Never throws: what is
 * wrong with one document or list item is in `rejected` with its line, the others stand.
 */
export function parseFile(path: string, text: string): ParsedFile {
  const lines = new LineCounter()
  const placeOf = (offset: number): string => `${path}:${lines.linePos(offset).line || 1}`
  let documents: readonly Document.Parsed[]
  try {
    // Duplicate keys are looked for below: the parser's own search is quadratic in the size of a map.
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'error',
    })
    documents = Array.isArray(parsed) ? parsed : []
  } catch (error) {
    return unclearFile(`${path}:1`, `is not YAML that can be read: ${messageOf(error)}`)
  }
  return sorted(documents.flatMap((document, index) => entriesOf(document, index, placeOf)))
}

type Entry = { readonly at: string; readonly label: string } & (
  | { readonly value: unknown }
  | { readonly fault: string }
)

function entriesOf(document: Document.Parsed, index: number, placeOf: (offset: number) => string): Entry[] {
  const label = `document ${index + 1}`
  const [error] = document.errors
  if (error) return [{ at: placeOf(error.pos[0]), label, fault: `is malformed YAML: ${error.message}` }]
  const contents = document.contents as Node | null
  if (contents === null || (isScalar(contents) && contents.value === null)) return []
  const at = placeOf(contents.range?.[0] ?? 0)
  const twice = duplicateKey(document)
  if (twice) return [{ at: placeOf(twice.offset), label, fault: `says "${twice.key}" twice` }]
  try {
    const value: unknown = document.toJS({ maxAliasCount: aliasesMax })
    const items = listItems(contents, value)
    if (!items) return [{ at, label, value }]
    return items.map((item, i) => ({ at: placeOf(item.offset), label: `${label} item ${i + 1}`, value: item.value }))
  } catch (cause) {
    return [{ at, label, fault: `cannot be expanded: ${messageOf(cause)}` }]
  }
}

/** The members of a `List`, `ServiceList`, …; undefined for any other object. */
function listItems(node: Node, value: unknown): { readonly offset: number; readonly value: unknown }[] | undefined {
  const { kind, items } = value as { kind?: unknown; items?: unknown }
  if (typeof kind !== 'string' || !kind.endsWith('List') || !(Array.isArray(items) || items === null)) return undefined
  const sequence = isMap(node) ? node.get('items', true) : undefined
  const nodes = isSeq(sequence) ? sequence.items : []
  return (items ?? []).map((item: unknown, index: number) => {
    const itemNode = nodes[index] as Node | undefined
    return { offset: itemNode?.range?.[0] ?? node.range?.[0] ?? 0, value: item }
  })
}

function duplicateKey(document: Document.Parsed): { readonly key: string; readonly offset: number } | undefined {
  let found: { key: string; offset: number } | undefined
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        if (seen.has(key.value)) {
          found = { key: String(key.value).slice(0, 80), offset: key.range?.[0] ?? 0 }
          return visit.BREAK
        }
        seen.add(key.value)
      }
      return undefined
    },
  })
  return found
}

function sorted(entries: readonly Entry[]): ParsedFile {
  const objects: PlacedObject[] = []
  const rejected: RejectedObject[] = []
  const invalid = new Set<string>()
  let isUnclear = false
  for (const entry of entries) {
    const parsed = 'fault' in entry ? ({ outcome: 'rejected', reason: entry.fault } as const) : parseObject(entry.value)
    if (parsed.outcome === 'used') objects.push({ id: parsed.id, at: entry.at, object: parsed.object })
    if (parsed.outcome !== 'rejected') continue
    const id = 'id' in parsed ? parsed.id : undefined
    if (id === undefined) isUnclear = true
    else invalid.add(id)
    rejected.push({ at: entry.at, object: id ?? entry.label, reason: parsed.reason })
  }
  return { objects, rejected, invalid, isUnclear }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 300)
