import { parseSync } from 'vite'

/** One import, however written: `import`, `export from`, `import()`, `import type`, `require`, `new URL(…, import.meta.url)`. */
export type Import = {
  /** As written; undefined where it is computed, so that nobody can read where it leads. */
  readonly specifier: string | undefined
  readonly line: number
  /** The names that are taken; undefined for the whole module (`* as`, default, `import()`, `export *`). */
  readonly names: readonly string[] | undefined
}

/** A use of something that a pure room may not have: the clock, randomness, the environment, input and output. */
export type Impurity = { readonly what: string; readonly line: number }

export type Read = { readonly imports: readonly Import[]; readonly impurities: readonly Impurity[] }

/** Every import and every impurity of one source file, in order. Throws when it does not parse. */
export function readSource(path: string, text: string): Read {
  const { program, errors } = parseSync(path, text)
  const [first] = errors
  if (first) throw new Error(`${path}: ${first.message}`)
  const imports: Import[] = []
  const impurities: Impurity[] = []
  const lineOf = (node: Node): number => text.slice(0, Number(node['start'])).split('\n').length
  walk(program, (node) => {
    const found = importOf(node)
    if (found) imports.push({ ...found, line: lineOf(node) })
    const what = impurityOf(node)
    if (what) impurities.push({ what, line: lineOf(node) })
  })
  return { imports, impurities }
}

type Node = { readonly type: string; readonly [field: string]: unknown }

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'

function walk(value: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(value)) for (const one of value) walk(one, visit)
  if (!isNode(value)) return
  visit(value)
  for (const field of Object.values(value)) if (typeof field === 'object') walk(field, visit)
}

function importOf(node: Node): Omit<Import, 'line'> | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
      return isNode(node['source'])
        ? { specifier: textOf(node['source']), names: namesOf(node['specifiers']) }
        : undefined
    case 'ImportExpression':
    case 'TSImportType':
      return { specifier: textOf(node['source']), names: undefined }
    case 'TSExternalModuleReference':
      return { specifier: textOf(node['expression']), names: undefined }
    case 'CallExpression':
      return isRequire(node['callee']) ? { specifier: firstArgument(node), names: undefined } : undefined
    case 'NewExpression':
      return importedFile(node)
    default:
      return undefined
  }
}

/** `new URL('./worker.ts', import.meta.url)` runs or reads a file beside the source: as much an arrow as an import. */
function importedFile(node: Node): Omit<Import, 'line'> | undefined {
  const specifier = nameOf(node['callee']) === 'URL' ? firstArgument(node) : undefined
  return specifier?.startsWith('.') && /\.[tj]s$/.test(specifier) ? { specifier, names: undefined } : undefined
}

const isRequire = (callee: unknown): boolean =>
  ['require', 'require.resolve', 'import.meta.resolve'].includes(nameOf(callee) ?? '')

function firstArgument(node: Node): string | undefined {
  const [first]: unknown[] = Array.isArray(node['arguments']) ? node['arguments'] : []
  return textOf(first)
}

const textOf = (node: unknown): string | undefined =>
  isNode(node) && node.type === 'Literal' && typeof node['value'] === 'string' ? node['value'] : undefined

function namesOf(specifiers: unknown): readonly string[] | undefined {
  if (!Array.isArray(specifiers)) return undefined
  const names = specifiers.map((one: unknown) =>
    isNode(one) ? nameOf(one.type === 'ImportSpecifier' ? one['imported'] : one['local']) : undefined,
  )
  const whole = specifiers.some(
    (one: unknown) => isNode(one) && ['ImportDefaultSpecifier', 'ImportNamespaceSpecifier'].includes(one.type),
  )
  return whole ? undefined : names.filter((name) => name !== undefined)
}

/** `a`, `a.b`, `import.meta.resolve`; undefined for anything else. */
function nameOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.type === 'Identifier' && typeof node['name'] === 'string') return node['name']
  if (node.type === 'MetaProperty') return 'import.meta'
  if (node.type !== 'MemberExpression' || node['computed'] === true) return undefined
  const [object, property] = [nameOf(node['object']), nameOf(node['property'])]
  return object && property ? `${object}.${property}` : undefined
}

const impureCalls = new Set([
  ...['fetch', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date'],
  ...['Date.now', 'Math.random', 'performance.now', 'crypto.randomUUID', 'crypto.getRandomValues'],
])
const impureObjects = new Set(['process', 'console', 'navigator', 'globalThis'])

function impurityOf(node: Node): string | undefined {
  if (node.type === 'MemberExpression') {
    const object = nameOf(node['object'])
    return object && impureObjects.has(object) ? object : undefined
  }
  const callee = nameOf(node['callee'])
  if (node.type === 'CallExpression') return callee && impureCalls.has(callee) ? `${callee}()` : undefined
  const bare = Array.isArray(node['arguments']) && node['arguments'].length === 0
  return node.type === 'NewExpression' && callee === 'Date' && bare ? 'new Date()' : undefined
}
