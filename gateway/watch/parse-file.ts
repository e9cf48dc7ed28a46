import type { KubeObject } from '#gateway/watch/kube-object.ts'
import { parseObject } from '#gateway/watch/parse-object.ts'
import { type YamlDocument, yamlDocuments } from '#gateway/watch/yaml-documents.ts'
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

/**
 * Reads a file of Kubernetes objects: several documents, `List` kinds. `path` is for messages. Never throws: what is
 * wrong with one document or list item is in `rejected` with its line, the others stand.
 */
export function parseFile(path: string, text: string): ParsedFile {
  const lineAt = lineFinder(text)
  return sorted(yamlDocuments(text).flatMap((document, index) => entriesOf(document, index, path, lineAt)))
}

type Entry = { readonly at: string; readonly label: string } & (
  | { readonly value: unknown }
  | { readonly fault: string }
)

function entriesOf(document: YamlDocument, index: number, path: string, lineAt: (offset: number) => number): Entry[] {
  const label = `document ${index + 1}`
  const at = `${path}:${lineAt(document.offset)}`
  if ('fault' in document) return [{ at, label, fault: document.fault }]
  const items = listItems(document.value)
  if (!items) return [{ at, label, value: document.value }]
  return items.map((value, i) => {
    const place = document.items[i] ?? document
    return { at: `${path}:${lineAt(place.offset)}`, label: `${label} item ${i + 1}`, value }
  })
}

/** The members of a `List`, `ServiceList`, …; undefined for any other object. */
function listItems(value: unknown): readonly unknown[] | undefined {
  const { kind, items } = value as { kind?: unknown; items?: unknown }
  if (typeof kind !== 'string' || !kind.endsWith('List') || !(Array.isArray(items) || items === null)) return undefined
  return items ?? []
}

/** Line numbers, from 1, of offsets that are asked for in rising order for the most part. */
function lineFinder(text: string): (offset: number) => number {
  let known = { offset: 0, line: 1 }
  return (offset) => {
    if (offset < known.offset) known = { offset: 0, line: 1 }
    let { offset: at, line } = known
    for (let next = text.indexOf('\n', at); next >= 0 && next < offset; next = text.indexOf('\n', at)) {
      at = next + 1
      line++
    }
    known = { offset: at, line }
    return line
  }
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
