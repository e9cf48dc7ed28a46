import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { controlPlaneFile, openTrustKeeper, type TrustKeeper } from '#gateway/trust-keeper.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { BundleLink, TrustBundle } from '#mesh/model/trust-bundle.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import { controlPlaneCaNames } from '#mesh/trust/names.ts'
import { signLink } from '#mesh/trust/sign-link.ts'
import { bundleKeys } from '#mesh/wire/bundle.ts'
import { type Holder, makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'

let one: Holder
let two: Holder
/** Bundles 1 to 4: the second announces another control-plane CA, the third is signed by the first and activates it. */
let history: readonly { readonly bundle: TrustBundle; readonly link: BundleLink }[]
beforeAll(async () => {
  const root = await makeRoot()
  one = await makeControlPlaneCa({ names: controlPlaneCaNames(mesh, 1) })
  two = await makeControlPlaneCa({ names: controlPlaneCaNames(mesh, 2) })
  history = await historyOf(root, 'first')
})

async function historyOf(root: Holder, what: string) {
  const states = [['active'], ['active', 'published'], ['tainted', 'active'], [undefined, 'active']] as const
  const steps: { bundle: TrustBundle; link: BundleLink }[] = []
  for (const [i, of] of states.entries()) {
    const controlPlane = [one, two].flatMap(({ pem }, n) => {
      const state = of[n]
      return state === undefined ? [] : [{ pem, state }]
    })
    const at = 1_000_000 + i + (what === 'first' ? 0 : 10)
    const roots = [{ pem: root.pem, state: 'active' as const }]
    const bundle: TrustBundle = { mesh, seq: i + 1, at, roots, controlPlane, revoked: [], denied: [], foreign: [] }
    const by = i < 3 ? one : two
    const link = await signLink(steps.at(-1)?.bundle, bundle, { certificate: by.certificate, signer: by.key })
    steps.push({ bundle, link })
  }
  return steps
}

const itemsAt = (seq: number, of = history): Map<string, Json> => {
  const bundle = of[seq - 1]?.bundle
  const links = of.slice(0, seq).map(({ link }) => [bundleKeys.link(link.seq), link] as const)
  return new Map(Object.entries({ [bundleKeys.bundle]: bundle, ...Object.fromEntries(links) })) as unknown as Map<
    string,
    Json
  >
}

let stateDir = ''
let said: string[] = []
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'trust-'))
  said = []
})
afterEach(() => rmSync(stateDir, { recursive: true, force: true }))
const file = (name: string) => join(stateDir, name)
const open = (time = 1): TrustKeeper =>
  openTrustKeeper({
    stateDir,
    membership: { mesh, clusterId: 'c', controlPlaneCa: one.pem, time },
    log: { info: () => undefined, warn: (facts, text) => void said.push(`${text} ${JSON.stringify(facts)}`) },
  })
const stands = (keeper: TrustKeeper) => ({ seq: keeper.pin().seq, pinned: keeper.pinned() })

describe('a verified bundle', () => {
  test('is in force, and still after a restart, with the control-plane CAs that it leads to', () => {
    const keeper = open()
    expect(stands(keeper)).toEqual({ seq: 0, pinned: [signerOf(one.certificate)] })
    expect(keeper.take(itemsAt(2))).toBe(true)
    const both = { seq: 2, pinned: [one, two].map((ca) => signerOf(ca.certificate)) }
    expect(stands(keeper)).toEqual(both)
    expect(stands(open())).toEqual(both)
    expect(open().bundle()).toEqual(history[1]?.bundle)
    expect(statSync(file('trust.json')).mode & 0o777).toBe(0o600)
  })

  test('is written where proxies read the CAs they believe their relay by', () => {
    const keeper = open()
    expect(readFileSync(controlPlaneFile(stateDir), 'utf8')).toBe(one.pem)
    keeper.take(itemsAt(3))
    expect(readFileSync(controlPlaneFile(stateDir), 'utf8')).toBe(one.pem + two.pem)
    keeper.take(itemsAt(4))
    expect(readFileSync(controlPlaneFile(stateDir), 'utf8')).toBe(two.pem)
    expect(statSync(controlPlaneFile(stateDir)).mode & 0o777).toBe(0o644)
  })

  test('that comes again is no news', () => {
    const keeper = open()
    expect([keeper.take(itemsAt(2)), keeper.take(itemsAt(2))]).toEqual([true, false])
    expect(said).toEqual([])
  })
})

describe('refused, said once, and the one before stays in force', () => {
  test('an older one: what is in force here is told as proof', () => {
    const keeper = open()
    keeper.take(itemsAt(3))
    expect([keeper.take(itemsAt(2)), keeper.take(itemsAt(2))]).toEqual([false, false])
    expect([keeper.pin().seq, keeper.fault()?.reason]).toEqual([3, 'RolledBack'])
    expect(keeper.proof()).toEqual(history[2])
    expect(keeper.conditions()).toMatchObject([{ type: 'BundleRefused', reason: 'RolledBack' }])
    expect(said).toHaveLength(1)
    expect([keeper.take(itemsAt(4)), keeper.fault(), keeper.proof()]).toEqual([true, undefined, undefined])
  })

  test('the same number with something else in it', async () => {
    const keeper = open()
    keeper.take(itemsAt(2))
    const other = await historyOf(await makeRoot(), 'other')
    expect([keeper.take(itemsAt(2, other)), keeper.fault()?.reason]).toEqual([false, 'Forked'])
  })

  test('one that cannot be read, one of another mesh, one whose signature is not the centre’s', () => {
    const keeper = open()
    keeper.take(itemsAt(1))
    const reasonOf = (change: (items: Map<string, Json>) => void) => {
      const items = itemsAt(2)
      change(items)
      return [keeper.take(items), keeper.fault()?.reason]
    }
    const put = (key: string, more: object) => (items: Map<string, Json>) =>
      void items.set(key, { ...(items.get(key) as object), ...more } as Json)
    expect(reasonOf(put('bundle', { seq: 'two' }))).toEqual([false, 'Unreadable'])
    expect(reasonOf(put('bundle', { mesh: 'mesh2' }))).toEqual([false, 'Misfit'])
    expect(reasonOf(put(bundleKeys.link(2), { signature: 'AAAA' }))).toEqual([false, 'BadSignature'])
    expect(keeper.pin().seq).toBe(1)
  })
})

test('an older centre, which names no bundle, changes nothing and is no fault', () => {
  const keeper = open()
  expect([keeper.take(new Map([['root/x', {}]])), keeper.fault()]).toEqual([false, undefined])
})

describe('killed between the two writes, or a file damaged', () => {
  test.each(['trust.json', 'trust.json.1'])('%s is of before: the later of the two counts', (behind) => {
    const keeper = open()
    keeper.take(itemsAt(2))
    copyFileSync(file('trust.json'), file('before'))
    keeper.take(itemsAt(3))
    copyFileSync(file('before'), file(behind))
    expect(open().pin().seq).toBe(3)
  })

  test.each(['trust.json', 'trust.json.1'])('%s is cut off anywhere: said, and the other one counts', (name) => {
    open().take(itemsAt(3))
    const whole = readFileSync(file(name))
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 20)) {
      writeFileSync(file(name), whole.subarray(0, at))
      said = []
      expect(open().pin().seq).toBe(3)
      expect(said[0]).toContain(`${file(name)} is not used`)
    }
  })

  test('both lost: it begins again at the CA that it joined with', () => {
    open().take(itemsAt(3))
    for (const name of ['trust.json', 'trust.json.1']) writeFileSync(file(name), 'x')
    const keeper = open()
    expect(keeper.pin().seq).toBe(0)
    expect(keeper.take(itemsAt(3))).toBe(true)
  })
})

test('a cluster that joined anew begins a chain of its own', () => {
  open().take(itemsAt(3))
  const keeper = open(2)
  expect(stands(keeper)).toEqual({ seq: 0, pinned: [signerOf(one.certificate)] })
  expect(keeper.take(itemsAt(2))).toBe(true)
})

test('a relay that lost its membership goes on with what was verified, and takes nothing new', () => {
  open().take(itemsAt(2))
  const keeper = openTrustKeeper({
    stateDir,
    membership: undefined,
    log: { info: () => undefined, warn: () => undefined },
  })
  expect(keeper.pin().seq).toBe(2)
  expect(keeper.take(itemsAt(3))).toBe(false)
})

test('a disk that takes nothing: in force from memory, and said', () => {
  const keeper = open()
  rmSync(stateDir, { recursive: true })
  writeFileSync(stateDir, 'a file')
  chmodSync(stateDir, 0o400)
  expect(keeper.take(itemsAt(2))).toBe(true)
  expect(keeper.pin().seq).toBe(2)
  expect(said.join()).toContain('could not be saved')
  expect(existsSync(file('trust.json'))).toBe(false)
})
