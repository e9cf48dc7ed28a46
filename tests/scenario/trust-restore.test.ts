import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { adoptProof } from '#control/trust/adopt.ts'
import { startRotation, stepRotations } from '#control/trust/rotate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { signLink } from '#mesh/trust/sign-link.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { selfSigned } from '#tests/support/self-signed.ts'
import { epochOf, openTestDatabase } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

let home: string
let db: Database | undefined
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'restored-'))
})
afterEach(async () => {
  await db?.close()
  rmSync(home, { recursive: true, force: true })
})

const open = async (name: string): Promise<TestCentre> => {
  db = await openTestDatabase({ dir: join(home, name) })
  return openTestCentre({ db, dir: home })
}
/** The centre ends; its store is copied or brought back, and it starts again with the keys that it has. */
async function again(copy: { readonly from: string; readonly to: string }, name: string): Promise<TestCentre> {
  await db?.close()
  cpSync(join(home, copy.from), join(home, copy.to), { recursive: true })
  return open(name)
}
let epochs = 1
async function moveTo(test: TestCentre, ...relays: TrustingRelay[]): Promise<void> {
  epochs++
  for (const one of relays) await one.moveTo(test, epochOf(epochs))
}

async function rotate(test: TestCentre, kind: 'root' | 'control-plane', ...relays: TrustingRelay[]): Promise<void> {
  await startRotation(test.centre, 'centre', { kind })
  for (let n = 0; n < 5; n++) {
    await stepRotations(test.centre)
    for (const relay of relays) await relay.keepUp()
  }
  await stepRotations(test.centre)
}

const authorities = async (test: TestCentre) =>
  ((await test.admin('GET', '/v1/authorities')).body['items'] as { kind: string; number: number; state: string }[])
    .map(({ kind, number, state }) => `${kind} ${number} ${state}`)
    .toSorted()

test.each(['root', 'control-plane'] as const)(
  'a store from before a rotation of the %s takes up what relays hold; nothing older is ever in force again',
  async (kind) => {
    let centre = await open('one')
    const east = await TrustingRelay.join(centre, 'east')
    const west = await TrustingRelay.join(centre, 'west')
    for (const relay of [east, west]) await relay.keepUp()
    centre = await again({ from: 'one', to: 'backup' }, 'one')
    await moveTo(centre, east, west)
    await rotate(centre, kind, east, west)
    const seq = east.bundle?.seq ?? 0
    const before = await authorities(centre)
    expect(before).toContain(`${kind} 2 active`)

    centre = await again({ from: 'backup', to: 'restored' }, 'restored')
    await moveTo(centre, east, west)
    expect(await authorities(centre)).not.toContain(`${kind} 2 active`)
    await east.keepUp()
    expect([east.fault, east.bundle?.seq]).toEqual([expect.stringContaining('RolledBack'), seq])
    expect(await adoptProof(centre.centre)).toMatchObject({ seq, from: 'east', missingKeys: [] })
    expect(await authorities(centre)).toEqual(before)
    for (const relay of [east, west]) {
      await relay.keepUp()
      expect(relay.fault).toBeUndefined()
    }
    expect(await adoptProof(centre.centre)).toBeUndefined()
    const late = await TrustingRelay.join(centre, 'late')
    await late.take()
    expect([late.fault, late.bundle?.seq]).toEqual([undefined, east.bundle?.seq])
    await rotate(centre, kind, east, west, await late.keepUp())
    expect(await authorities(centre)).toContain(`${kind} 3 active`)
  },
)

test('what was revoked or federated since the backup stays so; a forged proof counts for nothing', async () => {
  let centre = await open('one')
  const east = await TrustingRelay.join(centre, 'east')
  const west = await TrustingRelay.join(centre, 'west')
  const north = await TrustingRelay.join(centre, 'north')
  for (const relay of [east, west, north]) await relay.keepUp()
  await federate(centre, 'former.example')
  centre = await again({ from: 'one', to: 'backup' }, 'one')
  await moveTo(centre, east, west)
  await federate(centre, 'later.example')
  await centre.admin('DELETE', '/v1/foreign-domains/former.example?reason=over')
  await centre.admin('POST', '/v1/revocations', { kind: 'cluster', subject: 'west', reason: 'stolen' })
  await centre.admin('POST', '/v1/revocations', { kind: 'issuer', subject: 'north', reason: 'seen elsewhere' })
  await east.keepUp()
  centre = await again({ from: 'backup', to: 'restored' }, 'restored')
  await moveTo(centre, east, west)
  await east.take()
  const { proof } = east.said
  if (!proof) throw new Error('no proof')
  const bundle = { ...proof.bundle, seq: proof.bundle.seq + 1, revoked: [] }
  east.said = { ...east.said, proof: { bundle, link: { ...proof.link, seq: bundle.seq, digest: 'ab'.repeat(32) } } }
  await east.tell()
  expect(await adoptProof(centre.centre)).toBeUndefined()
  // Shut out, it says that only its issuer was.
  west.relay.trustDomain = 'west-g2.mesh1'
  await west.take()
  await west.renewed().tell()
  await east.keepUp()
  expect(await adoptProof(centre.centre)).toMatchObject({ from: 'east' })
  const { body: shut } = await centre.admin('GET', '/v1/clusters/west')
  expect(shut).toMatchObject({ state: 'revoked', trustDomain: 'west.mesh1' })
  expect((await centre.admin('GET', '/v1/clusters/north')).body).toMatchObject({ trustDomain: 'north-g2.mesh1' })
  expect((await west.relay.authenticate()).status).toBe(401)
  const foreign = await centre.admin('GET', '/v1/foreign-domains')
  expect(foreign.body['items']).toMatchObject([{ trustDomain: 'later.example', sequence: null }])
  const { bundle: first } = await east.take()
  expect(first?.foreign.map(({ trustDomain }) => trustDomain)).toEqual(['later.example'])
  expect(first?.unfederated).toMatchObject([{ trustDomain: 'former.example', cut: 1 }])
  const { body } = await centre.admin('POST', '/v1/revocations', {
    kind: 'workload',
    subject: 'spiffe://east.mesh1/ns/a/sa/b',
    reason: 'r',
  })
  expect(body['cut']).toBe(4)
})

test('a control-plane CA that was rotated out signs nothing that is taken up: its key may be known', async () => {
  const centre = await open('one')
  const east = await TrustingRelay.join(centre, 'east')
  await east.keepUp()
  const { certificate, signer } = await centre.centre.keys.active('control-plane')
  await rotate(centre, 'control-plane', east)
  expect(await authorities(centre)).toContain('control-plane 1 revoked')
  const { bundle } = east
  if (!bundle) throw new Error('no bundle')
  const forged = { ...bundle, seq: bundle.seq + 100, roots: bundle.controlPlane }
  const link = await signLink(bundle, forged, { certificate, signer })
  east.said = { ...east.said, fault: { reason: 'RolledBack', detail: '' }, proof: { bundle: forged, link } as never }
  await east.tell()
  expect(await adoptProof(centre.centre)).toBeUndefined()
  expect(await authorities(centre)).toContain('root 1 active')
})

async function federate(centre: TestCentre, trustDomain: string): Promise<void> {
  const bundle = toPem(selfSigned({ notBefore: new Date(0), notAfter: new Date('2046-01-01T00:00:00Z') }))
  const { status, body } = await centre.admin('PUT', `/v1/foreign-domains/${trustDomain}`, { bundle })
  expect([status, body['trustDomain']]).toEqual([201, trustDomain])
}
