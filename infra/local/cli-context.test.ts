import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { root } from '#tests/support/parts.ts'
import { caFileOf, keyFileOf } from './centre.ts'
import { statusCommand, writeCliContext } from './cli-context.ts'
import { planSandbox, type SandboxPlan } from './plan.ts'

let home = ''
let env: Record<string, string>
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'context-'))
  env = { XDG_CONFIG_HOME: join(home, 'config') }
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

type File = {
  readonly current: string
  readonly contexts: Readonly<Record<string, { readonly caFile: string; readonly relays: Record<string, string> }>>
}
const path = () => join(home, 'config/isthmus/config.yaml')
const file = () => parse(readFileSync(path(), 'utf8')) as File

/** The plan of a fleet whose centre has been up once. */
function fleet(name: string): SandboxPlan {
  const plan = planSandbox(home, { ISTHMUS_SANDBOX: join(home, name) })
  mkdirSync(dirname(caFileOf(plan)), { recursive: true })
  writeFileSync(caFileOf(plan), '')
  return plan
}

test('a second fleet takes no name from the first, says so, and keeps its own', () => {
  const [one, two] = [fleet('one'), fleet('two')]
  expect(writeCliContext(one, env)).toEqual({ words: '', name: 'sandbox' })
  const second = writeCliContext(two, env)
  expect(second.words).toBe('--context sandbox-2 ')
  expect(second.told).toContain('context sandbox-2; sandbox is one of another directory')
  expect(writeCliContext(two, env)).toEqual(second)
  expect(writeCliContext(one, env)).toEqual({ words: '', name: 'sandbox' })
  expect(file().current).toBe('sandbox')
  expect(file().contexts).toMatchObject({ sandbox: { caFile: caFileOf(one) }, 'sandbox-2': { caFile: caFileOf(two) } })
})

test('the name of a fleet that was deleted is free, and a context of the user’s own with that name is not', () => {
  const [one, two] = [fleet('one'), fleet('two')]
  writeCliContext(one, env)
  rmSync(one.dir, { recursive: true })
  expect(writeCliContext(two, env)).toEqual({ words: '', name: 'sandbox' })
  writeFileSync(path(), 'current: own\ncontexts: { own: { url: a }, sandbox: { url: b } }\n')
  expect(writeCliContext(two, env).words).toBe('--context sandbox-2 ')
  expect(file().contexts['sandbox']).toEqual({ url: 'b' })
})

test('relays that the user added to the context stay', () => {
  const one = fleet('one')
  writeCliContext(one, env)
  const text = readFileSync(path(), 'utf8').replace('relays:', 'relays:\n      paris-1: http://p')
  writeFileSync(path(), text)
  writeCliContext(one, env)
  expect(Object.keys(file().contexts['sandbox']?.relays ?? {}).sort()).toEqual([
    ...['ireland-1', 'paris-1', 'virginia-1', 'virginia-2'],
  ])
})

test('paths with a space are quoted in the words that can be pasted', () => {
  mkdirSync(dirname(path()), { recursive: true })
  writeFileSync(path(), 'contexts: [')
  const { words } = writeCliContext(fleet('my fleet'), env)
  expect(words).toMatch(/ --ca-file '\/[^']*my fleet[^']*control-plane-ca\.pem' --key-file '/)
})

test('a file that is not understood stays as it is, and the words name everything', () => {
  mkdirSync(dirname(path()), { recursive: true })
  writeFileSync(path(), 'contexts: [')
  const { words, told } = writeCliContext(fleet('one'), env)
  expect(words).toContain('--url https://127.0.0.1:7400 --ca-file ')
  expect(told).toContain(path())
  expect(readFileSync(path(), 'utf8')).toBe('contexts: [')
})

test('the printed command works as it is typed, through npx, where an option comes before the command', async () => {
  const [one, two] = [fleet('one'), fleet('two')]
  writeCliContext(one, env)
  const line = statusCommand(writeCliContext(two, env))
  expect(line).toMatch(/ --context sandbox-2 status$/)
  mkdirSync(dirname(keyFileOf(two)), { recursive: true })
  writeFileSync(keyFileOf(two), 'isthmus_key_none')
  const said = await new Promise<string>((resolve) => {
    const typed = { PATH: process.env['PATH'], HOME: home, ...env }
    execFile('sh', ['-c', line], { cwd: root, env: typed }, (_, out, err) => resolve(out + err))
  })
  expect(said).toContain('isthmus: status failed')
  expect(said).not.toMatch(/unknown command|npm (?:warn|error)/)
})
