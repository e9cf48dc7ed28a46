import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { homes, tools } from '#tests/support/homes.ts'
import { layoutFaults, type Source } from '#tests/support/layout.ts'
import { root } from '#tests/support/parts.ts'

const manifest: Record<string, Record<string, string>> = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const packages = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
  Object.keys(manifest[kind] ?? {}),
)

/** Made, fetched or hidden: not ours to order. */
const skipped = /^(node_modules|gen|dist|gen\.\d+|dist\.\d+|test-output|\..*)$/

function sourcesUnder(dir: string): Source[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) return skipped.test(entry.name) && path !== '.ci' ? [] : sourcesUnder(path)
    return /\.[cm]?[jt]sx?$/.test(entry.name) ? [{ path, text: readFileSync(join(root, path), 'utf8') }] : []
  })
}

describe('this repository', () => {
  const sources = sourcesUnder('')

  test('is read whole', () => {
    expect(sources.map(({ path }) => path)).toContain('infra/setup/run.js')
    expect(sources.length).toBeGreaterThan(50)
  })

  test('has every arrow pointing the right way', () => {
    expect(layoutFaults(sources, packages)).toEqual([])
  })

  test('has only folders that the house knows', () => {
    const folders = readdirSync(root, { withFileTypes: true }).filter(
      (one) => one.isDirectory() && !skipped.test(one.name),
    )
    const known = ['mesh', 'control', 'functions', 'gateway', 'console', 'cli', 'infra', 'docs', 'tests']
    expect(folders.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([])
  })

  test('names a home, or a tool, for every dependency', () => {
    expect(packages.filter((name) => !homes[name] && !tools.includes(name))).toEqual([])
  })
})

/** A file with these lines, and what must be said of it (a part of each fault, in order). */
type Case = readonly [name: string, path: string, text: string, faults: readonly string[]]

const rest: readonly Source[] = [
  { path: 'gateway/main.ts', text: `import '#gateway/relay/serve.ts'` },
  { path: 'gateway/settings.ts', text: '' },
  { path: 'gateway/wiring.ts', text: `import '#gateway/uplink/uplink.ts'` },
  { path: 'gateway/over.ts', text: `import './wiring.ts'` },
]

describe('the checker', () => {
  const wrong: readonly Case[] = [
    ['mesh imports nothing', 'mesh/model/a.ts', `import '#control/b.ts'`, ['mesh may import itself and nothing else']],
    [
      'a type is an arrow too',
      'mesh/model/a.ts',
      `import type { B } from '#gateway/b.ts'`,
      ['→ gateway/b.ts: mesh may'],
    ],
    ['an inline type is', 'mesh/model/a.ts', `let b: import('#gateway/b.ts').B`, ['→ gateway/b.ts: mesh may']],
    ['so is export from', 'mesh/model/a.ts', `export * from '#cli/b.ts'`, ['→ cli/b.ts: mesh may']],
    ['so is import()', 'mesh/model/a.ts', `await import('#cli/b.ts')`, ['→ cli/b.ts: mesh may']],
    ['so is require', 'mesh/model/a.ts', `require('#cli/b.ts')`, ['→ cli/b.ts: mesh may']],
    ['so is a worker', 'control/a.ts', `new URL('../cli/b.ts', import.meta.url)`, ['→ cli/b.ts: control may']],
    ['so is a path', 'mesh/model/a.ts', `import '../../cli/b.ts'`, ['→ cli/b.ts: mesh may']],
    [
      'gateway and control',
      'gateway/relay/a.ts',
      `import '#control/b.ts'`,
      ['gateway and control never import each other'],
    ],
    ['control and gateway', 'control/a.ts', `import '#gateway/b.ts'`, ['control and gateway never import each other']],
    [
      'gateway and functions',
      'gateway/uplink/a.ts',
      `import '#functions/b.ts'`,
      ['gateway and functions never import'],
    ],
    [
      'control looks up',
      'control/a.ts',
      `import '#functions/b.ts'`,
      ['control may import itself, mesh and nothing else'],
    ],
    ['cli into control', 'cli/a.ts', `import '#control/b.ts'`, ['cli may import itself, mesh and nothing else']],
    ['a program into infra', 'gateway/relay/a.ts', `import '#infra/setup/b.js'`, ['gateway may import']],
    ['gateway siblings', 'gateway/relay/a.ts', `import '#gateway/identity/b.ts'`, ['siblings of gateway never import']],
    ['a room imports main', 'gateway/relay/a.ts', `import '#gateway/main.ts'`, ['wires the rooms of gateway']],
    ['a room imports wiring', 'gateway/relay/a.ts', `import '#gateway/wiring.ts'`, ['wires the rooms of gateway']],
    ['over a third file', 'gateway/relay/a.ts', `import '#gateway/over.ts'`, ['wires the rooms of gateway']],
    ['store looks back', 'control/store/a.ts', `import '../publish.ts'`, ['control/store is what the flows stand on']],
    ['keys into store', 'control/keys/a.ts', `import '#control/store/b.ts'`, ['control/keys may import itself and']],
    [
      'model looks back',
      'mesh/model/a.ts',
      `import '#mesh/translate/b.ts'`,
      ['mesh/model never looks back at mesh/translate'],
    ],
    [
      'wire looks back',
      'mesh/wire/a.ts',
      `import '#mesh/compile/b.ts'`,
      ['mesh/wire never looks back at mesh/compile'],
    ],
    [
      'translate into wire',
      'mesh/translate/a.ts',
      `import '#mesh/wire/b.ts'`,
      ['mesh/translate may import itself, mesh/model'],
    ],
    [
      'translate into compile',
      'mesh/translate/a.ts',
      `import '#mesh/compile/b.ts'`,
      ['never looks back at mesh/compile'],
    ],
    ['terraform into cli', 'infra/terraform/a.ts', `import '#cli/b.ts'`, ['infra may import itself, mesh']],
    ['set-up into mesh', 'infra/setup/a.js', `import '#mesh/model/id.ts'`, ['infra/setup runs before anything']],
    ['a program into a test', 'mesh/model/a.ts', `import '#tests/support/b.ts'`, ['only tests import tests']],
    ['a program into testing/', 'control/a.ts', `import './store/testing/b.ts'`, ['only tests import tests']],
    [
      'a test over the border',
      'gateway/relay/a.test.ts',
      `import '#control/b.ts'`,
      ['gateway and control never import'],
    ],
    ['out of the house', 'cli/a.ts', `import '../../b.ts'`, ['is no folder of this house']],
    ['an unknown alias', 'cli/a.ts', `import '#lib/b.ts'`, ['lib is no folder of this house']],
    [
      'drizzle outside the store',
      'control/publish.ts',
      `import 'drizzle-orm/pg-core'`,
      ['→ drizzle-orm: its home is control/store'],
    ],
    ['hono outside the api', 'functions/watch/a.ts', `import 'hono'`, ['→ hono: its home is functions/api']],
    ['grpc-js in the relay', 'gateway/relay/a.ts', `import '@grpc/grpc-js'`, ['→ @grpc/grpc-js: it is a tool']],
    ['ws in the relay', 'gateway/relay/a.ts', `import 'ws'`, ['→ ws: its home is functions/watch, gateway/uplink']],
    ['forge in a room', 'mesh/trust/a.ts', `import 'node-forge'`, ['→ node-forge: it is a tool']],
    ['a tool in a room', 'control/a.ts', `import 'fast-check'`, ['→ fast-check: it is a tool']],
    ['an unnamed package', 'control/a.ts', `import 'left-pad'`, ['→ left-pad: package.json does not name it']],
    [
      ...([
        'a resource type in the relay',
        'gateway/relay/a.ts',
        `import '#gen/envoy/config/cluster/v3/cluster_pb.js'`,
      ] as const),
      ['the home of this message is mesh/translate'],
    ],
    [
      ...([
        'an envelope in translate',
        'mesh/translate/a.ts',
        `import '#gen/envoy/service/discovery/v3/ads_pb.js'`,
      ] as const),
      ['the home of this message is gateway/relay'],
    ],
    ['files in mesh', 'mesh/model/a.ts', `import { readFileSync } from 'node:fs'`, ['→ node:fs: mesh is pure']],
    [
      'random in mesh',
      'mesh/model/a.ts',
      `import { createHash, randomBytes } from 'node:crypto'`,
      ['may not use randomBytes'],
    ],
    ['signing in mesh', 'mesh/trust/a.ts', `import { sign } from 'node:crypto'`, ['mesh may not use sign']],
    ['all of crypto in mesh', 'mesh/trust/a.ts', `import * as c from 'node:crypto'`, ['mesh takes single names']],
    [
      'the clock in mesh',
      'mesh/model/a.ts',
      'export const a = () => Date.now() + +new Date()',
      ['Date.now()', 'new Date()'],
    ],
    ['the environment in mesh', 'mesh/model/a.ts', `export const a = process.env['A']`, ['uses process']],
    ['chance in mesh', 'mesh/model/a.ts', 'export const a = Math.random()', ['uses Math.random()']],
    ['a computed import', 'cli/a.ts', 'export const a = (b: string) => import(b)', ['imports a computed name']],
    ['a file without a name', 'mesh/model/utils.ts', '', ['"utils.ts" says nothing']],
    ['nor with half a one', 'mesh/model/yaml-helpers.ts', '', ['"yaml-helpers.ts" says nothing']],
    ['a folder without a name', 'cli/common/a.ts', '', ['"common" says nothing']],
    ['capitals', 'cli/getNoun.ts', '', ['"getNoun.ts" is not kebab-case']],
    ['a new top folder', 'lib/a.ts', '', ['lib/ is no folder of this house']],
    ['a new room', 'gateway/cache/a.ts', '', ['gateway/cache/ is a new room']],
    ['a file at the top', 'a.ts', '', ['every source has a room']],
  ]
  test.each(wrong)('names it: %s', (_, path, text, parts) => {
    const faults = layoutFaults([{ path, text }, ...rest.filter((one) => one.path !== path)], packages)
    expect(faults).toHaveLength(parts.length)
    parts.forEach((part, at) => {
      expect(faults[at]).toContain(part)
      expect(faults[at]?.startsWith(path)).toBe(true)
    })
  })

  const right: readonly Case[] = [
    [
      'functions call flows',
      'functions/api/routes/sync.ts',
      `import '#control/sync.ts'; import 'hono'; import 'zod'`,
      [],
    ],
    ['flows use the store', 'control/a.ts', `import '#control/store/b.ts'; import '#mesh/wire/c.ts'`, []],
    ['main wires', 'gateway/main.ts', `import '#gateway/relay/b.ts'; import './uplink/c.ts'`, []],
    ['rooms share settings', 'gateway/relay/a.ts', `import '#gateway/settings.ts'`, []],
    ['translate reads Envoy', 'mesh/translate/a.ts', `import '#gen/envoy/config/cluster/v3/cluster_pb.js'`, []],
    ['the relay serves envelopes', 'gateway/relay/a.ts', `import '#gen/envoy/service/discovery/v3/ads_pb.js'`, []],
    ['mesh hashes', 'mesh/model/a.ts', `import { createHash, type KeyObject } from 'node:crypto'`, []],
    ['mesh builds a date from a number', 'mesh/model/a.ts', 'export const a = (ms: number) => new Date(ms)', []],
    [
      'a test beside its file is free',
      'gateway/relay/a.test.ts',
      `import 'vitest'; import '#gateway/identity/b.ts'`,
      [],
    ],
    ['a test uses support', 'mesh/model/a.test.ts', `import 'node:fs'; import '#tests/support/b.ts'`, []],
    ['tests cross every border', 'tests/e2e/a.test.ts', `import '#control/a.ts'; import '#gateway/relay/b.ts'`, []],
    [
      'text about imports is no import',
      'mesh/model/a.ts',
      "// import '#cli/a.ts'\nexport const a = `import '#cli/b.ts'`",
      [],
    ],
    ['the sandbox stands outside', 'infra/local/a.ts', `import '#gateway/settings.ts'; import '#infra/setup/b.js'`, []],
    ['a common name is a name', 'mesh/trust/common-name.ts', '', []],
  ]
  test.each(right)('lets it be: %s', (_, path, text) => {
    expect(layoutFaults([{ path, text }, ...rest.filter((one) => one.path !== path)], packages)).toEqual([])
  })

  test('says where: file, line, target and rule', () => {
    const text = `import '#mesh/model/id.ts'\n\nimport {\n  b,\n} from '#control/b.ts'\n`
    expect(layoutFaults([{ path: 'gateway/relay/a.ts', text }], packages)).toEqual([
      'gateway/relay/a.ts:3: → control/b.ts: gateway and control never import each other: they meet in mesh/wire',
    ])
  })
})
