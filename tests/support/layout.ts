import { isBuiltin } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { generated, homes, pureNames, tools } from '#tests/support/homes.ts'
import { type Import, type Read, readSource } from '#tests/support/imports.ts'

/** A source file: its path from the top of the repository, with `/`, and its text. */
export type Source = { readonly path: string; readonly text: string }

/** Top-level folder → the folders it may import beside itself. What is not named here may not exist. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  mesh: [],
  control: ['mesh'],
  functions: ['control', 'mesh'],
  gateway: ['mesh'],
  console: ['mesh'],
  cli: ['mesh'],
  infra: ['mesh'],
  tests: ['mesh', 'control', 'functions', 'gateway', 'console', 'cli', 'infra'],
  docs: [],
  '.ci': [],
}

/** The doors of the centre open on one Node process: they may know each other. */
const doors = ['api', 'publish', 'watch', 'rotate', 'sweep']

/** The rooms of a folder, and for each the sibling rooms it may import. Folders without an entry have free rooms. */
const rooms: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  mesh: {
    model: [],
    trust: ['model'],
    policy: ['model', 'trust'],
    wire: ['model', 'policy', 'trust'],
    compile: ['model', 'policy', 'trust'],
    translate: ['model', 'policy', 'trust'],
    mcs: ['model'],
    foresee: ['model', 'policy', 'trust', 'wire', 'compile', 'translate'],
  },
  control: { store: [], keys: [], trust: ['store', 'keys'], traffic: ['store', 'keys', 'trust'] },
  functions: Object.fromEntries(doors.map((door) => [door, doors])),
  gateway: {
    ...{
      grpc: [],
      watch: [],
      uplink: [],
      relay: ['grpc'],
      identity: ['grpc'],
      health: ['grpc'],
      resolve: [],
      status: [],
      lead: [],
      dns: [],
      proxy: ['grpc'],
      redirect: [],
    },
  },
  infra: { setup: [], local: ['setup'], terraform: [], chart: [], images: [] },
}

/** These start programs, so they stand outside the arrows. */
const outside = (path: string): boolean => path.startsWith('infra/local/') || path.startsWith('tests/')
const isTest = (path: string): boolean => path.startsWith('tests/') || /\.test\.ts$|\/(testing|testdata)\//.test(path)
const topOf = (path: string): string => path.split('/')[0] ?? ''
/** The room that a file stands in: the folder below its top-level folder; undefined for a file right in that folder. */
const roomOf = (path: string): string | undefined => (path.split('/').length > 2 ? path.split('/')[1] : undefined)
const within = (path: string, places: readonly string[]): boolean =>
  places.some((place) => path === place || path.startsWith(`${place}/`))

/**
 * Every arrow that points the wrong way, every second home of a dependency and every name without a meaning, as
 * `file:line: what, and the rule`. Empty when the house is in order. `packages` are the direct dependencies.
 */
export function layoutFaults(sources: readonly Source[], packages: readonly string[]): string[] {
  const read = new Map(sources.map(({ path, text }) => [path, readSource(path, text)]))
  return sources.flatMap(({ path }) => {
    const { imports = [], impurities = [] } = read.get(path) ?? {}
    const pure = topOf(path) === 'mesh' && !isTest(path)
    return [
      ...nameFaults(path).map((fault) => `${path}: ${fault}`),
      ...imports.flatMap((one) =>
        importFaults(path, one, packages, read).map((fault) => `${path}:${one.line}: ${fault}`),
      ),
      ...(pure ? impurities : []).map(
        ({ what, line }) => `${path}:${line}: uses ${what}: mesh is pure; take now, ids and random bytes as arguments`,
      ),
    ]
  })
}

const nameless = new Set([
  'utils',
  'util',
  'common',
  'helpers',
  'helper',
  'types',
  'type',
  'manager',
  'managers',
  'misc',
])
const namelessParts = new Set(['utils', 'util', 'helpers', 'helper', 'manager', 'managers'])

/** What is wrong with where a file lies and how it is called. */
function nameFaults(path: string): string[] {
  const top = topOf(path)
  if (!path.includes('/')) return path === 'vitest.config.ts' ? [] : ['lies at the top: every source has a room']
  if (!arrows[top]) return [`${top}/ is no folder of this house: ${Object.keys(arrows).join(', ')}`]
  const room = roomOf(path)
  const known = rooms[top]
  const faults = path.split('/').flatMap((part) => {
    const name = part.replace(/(\.test|\.d|\.config)?\.[cm]?[jt]sx?$/, '')
    if (nameless.has(name) || name.split('-').some((word) => namelessParts.has(word)))
      return [`"${part}" says nothing: a thing without a home has no name yet`]
    return /^\.?[a-z0-9]+(-[a-z0-9]+)*$/.test(name) ? [] : [`"${part}" is not kebab-case`]
  })
  if (known && room && !Object.hasOwn(known, room))
    faults.push(`${top}/${room}/ is a new room: give it its arrows in tests/support/layout.ts`)
  return faults
}

function importFaults(
  path: string,
  one: Import,
  packages: readonly string[],
  read: ReadonlyMap<string, Read>,
): string[] {
  const { specifier } = one
  if (specifier === undefined)
    return isTest(path) || topOf(path) === 'infra' ? [] : ['imports a computed name: write it out']
  if (isBuiltin(specifier)) return builtinFaults(path, one, specifier)
  if (!/^[.#]/.test(specifier)) return packageFaults(path, specifier, packages)
  const target = specifier.startsWith('#') ? specifier.slice(1) : join(dirname(path), specifier)
  const fault = target.startsWith('gen/') ? generatedFault(path, target) : arrowFault(path, target, read)
  return fault ? [`→ ${target}: ${fault}`] : []
}

/** The rule that the arrow from `path` to `target` breaks, if any. */
function arrowFault(path: string, target: string, read: ReadonlyMap<string, Read>): string | undefined {
  const [from, to] = [topOf(path), topOf(target)]
  if (target.startsWith('..') || !arrows[to]) return `${to} is no folder of this house`
  if (isTest(target) && !isTest(path)) return 'only tests import tests'
  if (outside(path)) return undefined
  if (from === to) return isTest(path) ? undefined : siblingFault(path, target, read)
  if (isTest(path) && to === 'tests') return undefined
  if (path.startsWith('infra/setup/')) return 'infra/setup runs before anything is installed and stands alone'
  if (arrows[from]?.includes(to)) return undefined
  if (new Set([from, to, 'gateway']).size === 2 && [from, to].some((one) => ['control', 'functions'].includes(one)))
    return `${from} and ${to} never import each other: they meet in mesh/wire`
  return `${from} may import ${['itself', ...(arrows[from] ?? [])].join(', ')} and nothing else`
}

/** The rule between two places of one top-level folder. */
function siblingFault(path: string, target: string, read: ReadonlyMap<string, Read>): string | undefined {
  const top = topOf(path)
  const [from, to] = [roomOf(path), roomOf(target)]
  const siblings = rooms[top]
  if (!siblings || from === undefined || from === to) return undefined
  if (to === undefined) return rootFault(from, target, read)
  if (siblings[from]?.includes(to)) return undefined
  if (top === 'gateway') return 'siblings of gateway never import each other: gateway/main.ts wires them'
  if (top === 'mesh' && ['compile', 'translate'].includes(to)) return `${top}/${from} never looks back at ${top}/${to}`
  return `${top}/${from} may import ${['itself', ...(siblings[from] ?? []).map((room) => `${top}/${room}`)].join(', ')} and nothing else of ${top}`
}

/** A room may share what lies right in its folder (settings, log), but never a file that wires rooms: that is a circle. */
function rootFault(room: string, target: string, read: ReadonlyMap<string, Read>): string | undefined {
  const top = topOf(target)
  if (top === 'mesh') return 'the rooms of mesh share nothing outside themselves'
  // The flows of trust and of traffic are many, so they have rooms; flows all the same: they stand on the same files as
  // their siblings.
  if (top === 'control' && ['trust', 'traffic'].includes(room)) return undefined
  if (top === 'control') return `control/${room} is what the flows stand on: it never looks back at them`
  return wires(target, read, new Set()) ? `${target} wires the rooms of ${top}: no room imports it` : undefined
}

function wires(path: string, read: ReadonlyMap<string, Read>, seen: Set<string>): boolean {
  if (seen.has(path)) return false
  seen.add(path)
  if (basename(path) === 'main.ts') return true
  return (read.get(path)?.imports ?? []).some(({ specifier = '' }) => {
    const target = specifier.startsWith('#') ? specifier.slice(1) : join(dirname(path), specifier)
    if (!/^[.#]/.test(specifier) || topOf(target) !== topOf(path)) return false
    return roomOf(target) !== undefined || wires(target, read, seen)
  })
}

function builtinFaults(path: string, { names }: Import, specifier: string): string[] {
  if (!specifier.startsWith('node:')) return [`→ ${specifier}: write node:${specifier}`]
  if (topOf(path) !== 'mesh' || isTest(path)) return []
  const pure = pureNames[specifier]
  if (!pure) return [`→ ${specifier}: mesh is pure: no input, output, clock, randomness or environment`]
  if (!names) return [`→ ${specifier}: mesh takes single names from it: ${pure.join(', ')}`]
  return names
    .filter((name) => !pure.includes(name))
    .map((name) => `→ ${specifier}: mesh may not use ${name}, only ${pure.join(', ')}`)
}

function packageFaults(path: string, specifier: string, packages: readonly string[]): string[] {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  if (!packages.includes(name)) return [`→ ${name}: package.json does not name it`]
  if (isTest(path) || path === 'vitest.config.ts' || topOf(path) === 'infra') return []
  const places = homes[name]
  if (places && within(path, places)) return []
  if (tools.includes(name)) return [`→ ${name}: it is a tool, for tests and set-up only`]
  return [`→ ${name}: its home is ${places?.join(', ') ?? 'not named yet (tests/support/homes.ts)'}`]
}

function generatedFault(path: string, target: string): string | undefined {
  if (isTest(path) || outside(path)) return undefined
  const file = target.slice('gen/'.length)
  const [, places = []] = generated.find(([prefix]) => file.startsWith(prefix)) ?? []
  return within(path, places) ? undefined : `the home of this message is ${places.join(', ')}`
}
