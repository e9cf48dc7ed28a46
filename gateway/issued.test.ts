import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Certified } from '#gateway/identity/certified-key.ts'
import { type Issued, openIssued } from '#gateway/issued.ts'
import { openRefusals } from '#gateway/refusals.ts'
import type { Wanted } from '#gateway/wanted-authority.ts'
import { identityNames, rootNames } from '#mesh/trust/names.ts'
import { backdateSeconds } from '#mesh/trust/profile.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, keyInHand, make, makeIssuing, makeRoot, mesh } from '#tests/support/authorities.ts'

const minute = 60_000
const centreNow = new Date('2026-05-01T00:00:00Z').getTime()
const roots = [1, 2].map((n) => makeRoot({ now: new Date(centreNow), names: rootNames(mesh, n) }))

let ms = 0
let stateDir = ''
let current: Certified | undefined
let wanted: Wanted = {}
const opened: Issued[] = []
beforeEach(() => {
  ms = 0
  wanted = {}
  stateDir = mkdtempSync(join(tmpdir(), 'issued-'))
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
  rmSync(stateDir, { recursive: true, force: true })
})

/** An issuing CA of the centre's making, at the centre's time. */
async function certify(n: 0 | 1): Promise<Holder> {
  const root = await roots[n]
  if (!root) throw new Error('there are two')
  const issuing = await makeIssuing(root, 'west', { now: new Date(centreNow + ms) })
  current = {
    ...{ signer: issuing.key, keyPem: issuing.key.keyPem, chain: [issuing.certificate] },
    roots: [root.certificate],
  }
  return issuing
}

/** The relay's books, by a clock so far off the centre's. */
function open(offMs: number): Issued {
  const issued = openIssued({
    ...{ stateDir, trustDomain: 'west.mesh1', issuing: { current: () => current }, wanted: () => wanted },
    clock: () => new Date(centreNow + ms + offMs),
    ...{ warn: (text) => expect.unreachable(text), refusals: openRefusals(), onNews: () => undefined },
  })
  opened.push(issued)
  return issued
}

/** Gives a leaf to a pod; its serial, and when it counts as made. */
async function give(issued: Issued, by: Holder, offMs: number, pod = 'shop/a-0') {
  const names = identityNames(spiffeId(domain('west'), 'shop', 'a'))
  const key = keyInHand()
  const leaf = await make({ profile: 'workload', names, by, key, now: new Date(centreNow + ms + offMs) })
  if (!current) throw new Error('there is an issuing CA')
  const { certificate } = leaf
  const holder = { namespace: 'shop', serviceAccount: 'a' }
  issued.onIssued({ certificate, authority: current, keySha256: key.keyPem.slice(40, 60), holder, pod, asker: pod })
  return {
    serial: Buffer.from(certificate.serial).toString('hex'),
    madeAt: certificate.notBefore.getTime() + backdateSeconds * 1000,
    keyPem: key.keyPem,
  }
}
const look = (issued: Issued, serial: string) =>
  issued.looked({ pod: 'shop/a-0', serial, controlPlaneDigest: 'd', refusals: [], callTimes: [] })

describe.each([-10, 0, 10])('a relay whose clock is %d minutes off the centre’s', (minutes) => {
  const offMs = minutes * minute

  test('has a leaf renewed where the root above it is another one, once, and no other', async () => {
    const issued = open(offMs)
    const first = await give(issued, await certify(0), offMs)
    expect(look(issued, first.serial)).toBe(0)
    ms += minute
    const next = await certify(1)
    expect(look(issued, first.serial)).toBeGreaterThan(first.madeAt)
    const second = await give(issued, next, offMs)
    expect(look(issued, second.serial)).toBe(0)
    expect(issued.leaves(() => true).old).toBe(0)
  })

  test('has leaves renewed of an issuing CA of before what the centre asks for, once that is renewed', async () => {
    const issued = open(offMs)
    const first = await give(issued, await certify(0), offMs)
    // The answer comes within the second, and certificates tell whole ones.
    ms += 20 * minute + 500
    wanted = { issuingBefore: centreNow + ms }
    // A leaf of the same CA would be no better.
    expect(look(issued, first.serial)).toBe(0)
    ms += 100
    const second = await give(issued, await certify(0), offMs)
    expect(look(issued, first.serial)).toBeGreaterThan(first.madeAt)
    expect(look(issued, second.serial)).toBe(0)
  })
})

test('after a restart it knows its leaves, the keys that it certified, and goes on with the log', async () => {
  const issuing = await certify(0)
  const before = open(0)
  const { serial } = await give(before, issuing, 0)
  before.close()
  const after = open(0)
  expect(look(after, serial)).toBe(0)
  await certify(1)
  expect(look(after, serial)).toBeGreaterThan(0)
  expect(after.head()).toMatchObject({ seq: 1, hash: expect.stringMatching(/^[0-9a-f]{64}$/) })
})

test('a pod that is gone holds nothing up', async () => {
  const issued = open(0)
  await give(issued, await certify(0), 0)
  await certify(1)
  expect([issued.leaves(() => true).old, issued.leaves(() => false).old]).toEqual([1, 0])
})

test('no key, token or request is in what it writes', async () => {
  const issued = open(0)
  const { keyPem } = await give(issued, await certify(0), 0)
  issued.close()
  const text = readdirSync(stateDir)
    .map((name) => readFileSync(join(stateDir, name), 'utf8'))
    .join('')
  expect(text).toContain('shop/a-0')
  expect(text).not.toMatch(/PRIVATE KEY|BEGIN/)
  expect(text).not.toContain(keyPem.split('\n')[2])
})
