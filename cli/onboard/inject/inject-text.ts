import { isDeepStrictEqual } from 'node:util'
import { type Document, isAlias, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml'
import { refusal } from '#cli/failure.ts'
import { type Found, templatesIn } from '#cli/onboard/inject/find-templates.ts'
import { isShape, type Shape } from '#cli/onboard/inject/kube-shape.ts'
import { patchDocument } from '#cli/onboard/inject/patch-node.ts'
import type { Violation } from '#mesh/model/problem.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What becomes of a pod template; faults = why it cannot. */
export type Change = (found: Found) => { readonly template: Shape; readonly faults: readonly string[] }

export type Changed = {
  readonly text: string
  /** `Deployment shop/reviews` of those that have a pod template, and whether it is another now. */
  readonly seen: readonly { readonly name: string; readonly isChanged: boolean }[]
}

/**
 * YAML or JSON with every pod template changed. Documents in which nothing changes are given back to the byte; in the
 * others comments, order and quotes stay. Throws `invalid` with file and line, and with every fault of every template.
 */
export function changedText(text: string, file: string, change: Change): Changed {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: lines, merge: true })
  if (!Array.isArray(documents)) return { text, seen: [] }
  const seen: { name: string; isChanged: boolean }[] = []
  const violations: Violation[] = []
  let rest = 0
  let out = ''
  for (const document of documents) {
    const [fault] = document.errors
    if (fault) throw notYaml(fault, `${file}:${lines.linePos(fault.pos[0]).line}`)
    const end = document.range[2]
    const source = text.slice(rest, end)
    rest = end
    const before: unknown = jsOf(document, `${file}:${lines.linePos(document.range[0]).line}`)
    const at = lines.linePos(document.contents?.range?.[0] ?? document.range[0]).line
    const { after, found } = isShape(before) ? changedObject(before, change) : { after: before, found: [] }
    seen.push(...found.map(({ name, isChanged }) => ({ name, isChanged })))
    for (const { name, faults } of found)
      violations.push(...faults.map((reason) => ({ path: `${name} (${file}:${at})`, reason })))
    out += isDeepStrictEqual(before, after) ? source : written(document, before, after, source)
  }
  if (violations.length === 0) return { text: out + text.slice(rest), seen }
  const [first, ...others] = violations
  const why = others.length === 0 ? `to ${first?.path}: ${first?.reason}` : 'to these pods'
  throw new Problem('invalid', `a sidecar cannot be given ${why}`, {
    violations,
    extra: { on: file, mend: 'change what is named, or leave that object out of the file' },
  })
}

function changedObject(object: Shape, change: Change) {
  const found: { name: string; isChanged: boolean; faults: readonly string[] }[] = []
  const after = templatesIn(object, (one) => {
    const { template, faults } = change(one)
    found.push({ name: one.name, faults, isChanged: !isDeepStrictEqual(template, one.template) })
    return template
  })
  return { after, found }
}

function jsOf(document: Document.Parsed, on: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw refusal({
      ...{ kind: 'invalid', on, cause },
      why: `its aliases cannot be followed: ${(cause as Error).message}`,
      mend: 'write out what the aliases stand for',
    })
  }
}

const notYaml = (fault: Error, on: string): Problem =>
  refusal({
    ...{ kind: 'invalid', on, cause: fault },
    why: `this is not YAML: ${fault.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '')}`,
    mend: 'correct that line, then repeat the command',
  })

/** The document as it is to be, in the style of its source. */
function written(document: Document.Parsed, before: unknown, after: unknown, source: string): string {
  if (isJson(source)) return `${JSON.stringify(after, undefined, 2)}\n`
  if (hasMerge(document)) document.contents = document.createNode(before) as typeof document.contents
  else writeOut(document)
  patchDocument(document, before, after)
  const text = document.toString({ lineWidth: 0, ...styleOf(source) })
  // What stood before the first line of the object is kept by the document but for its `---`.
  const marked = /^(?:[ \t]*(?:#.*)?\r?\n)*---/.test(source)
  return marked && !/^(?:[ \t]*(?:#.*)?\r?\n)*---/.test(text) ? `---\n${text}` : text
}

function isJson(source: string): boolean {
  if (!/^\s*\{/.test(source)) return false
  try {
    JSON.parse(source)
    return true
  } catch {
    return false
  }
}

/** What an alias stands for is written out: else a label for pods would be one of a selector too. */
function writeOut(document: Document.Parsed): void {
  for (let isOpen = true; isOpen; ) {
    isOpen = false
    visit(document, {
      Alias: (_, alias) => {
        isOpen = true
        const target = alias.resolve(document)
        return target?.clone() as typeof target
      },
    })
  }
  visit(document, {
    Node: (_, node) => {
      if (!isAlias(node) && 'anchor' in node) delete node.anchor
    },
  })
}

function hasMerge(document: Document.Parsed): boolean {
  let found = false
  visit(document, {
    Pair: (_, pair) => {
      if (isScalar(pair.key) && pair.key.source === '<<') found = true
      return found ? visit.BREAK : undefined
    },
  })
  return found
}

/** How the author writes lists below keys, and `{a: b}`. */
function styleOf(source: string): { readonly indentSeq: boolean; readonly flowCollectionPadding: boolean } {
  const [, key = '', , item = ''] = /^( *)(?:- +)?([^\s#-][^\n]*):[ \t]*(?:#.*)?\r?\n( *)- /m.exec(source) ?? []
  return {
    indentSeq: item.length > key.length || !/^( *)[^\s#-][^\n]*:[ \t]*\r?\n\1- /m.test(source),
    flowCollectionPadding: !/\{[^\s}]/.test(source) || /\{ [^\s}]/.test(source),
  }
}
