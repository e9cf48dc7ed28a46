import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadTrustAlerts } from '#control/trust/alerts.ts'
import { startDueRotations } from '#control/trust/schedule.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { selfSigned } from '#tests/support/self-signed.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

const day = 24 * 60 * 60_000
let test1: TestCentre
let begin: number
beforeAll(async () => {
  test1 = await openTestCentre()
  begin = test1.clock.now
})
afterAll(() => test1.close())

const at = (days: number): void => {
  test1.clock.now = begin + days * day
}
const running = async () =>
  ((await test1.admin('GET', '/v1/rotations')).body['items'] as { kind: string; reason: string }[]).map(
    ({ kind }) => kind,
  )

test('an issuing CA that was not renewed is told at a quarter and a tenth of its life, one that was is not', async () => {
  const east = await TrustingRelay.join(test1, 'east')
  await east.take()
  const issuing = { root: 'ab'.repeat(32), notAfter: begin + 30 * day, trustDomain: 'east.mesh1' }
  east.said = { issuing }
  await east.tell()
  expect(await loadTrustAlerts(test1.centre)).toEqual([])
  at(23)
  expect(await loadTrustAlerts(test1.centre)).toEqual([expect.stringContaining('issuing CAs of 1 clusters')])
  at(0)
})

test('the roots of another mesh are told before the last of them ends, and no name with it', async () => {
  const life = { notBefore: new Date(begin), notAfter: new Date(begin + 30 * day) }
  const path = '/v1/foreign-domains/partner.example'
  const bundle = toPem(selfSigned({ ...life, subject: 'one' }))
  expect((await test1.admin('PUT', path, { bundle })).status).toBe(201)
  const told = async () => (await loadTrustAlerts(test1.centre)).filter((line) => line.includes('foreign'))
  expect(await told()).toEqual([])
  at(23)
  expect(await told()).toEqual([expect.stringMatching(/^the roots of a foreign trust domain end at .*a quarter/)])
  const next = toPem(selfSigned({ ...life, notAfter: new Date(begin + 300 * day), subject: 'two' }))
  await test1.admin('PUT', path, { bundle: bundle + next })
  expect(await told()).toEqual([])
  at(0)
  await test1.admin('DELETE', `${path}?reason=over`)
})

test('a rotation begins by itself before anything is told to end, and not twice', async () => {
  expect(await startDueRotations(test1.centre, undefined)).toBe(0)
  expect(await startDueRotations(test1.centre, 30 * day)).toBe(0)
  at(31)
  expect(await startDueRotations(test1.centre, 30 * day)).toBe(1)
  expect(await startDueRotations(test1.centre, 30 * day)).toBe(0)
  expect(await running()).toEqual(['root'])
  at(3.6 * 365)
  expect(await startDueRotations(test1.centre, undefined)).toBe(1)
  expect(await running()).toEqual(['control-plane', 'root'])
})

test('an authority at a quarter and at a tenth of its life is told by kind, number and end', async () => {
  at(3.8 * 365)
  expect((await loadTrustAlerts(test1.centre))[0]).toMatch(/^control-plane 1 \(active\) ends at 2031-.*a quarter/)
  at(4.6 * 365)
  expect((await loadTrustAlerts(test1.centre))[0]).toMatch(/^control-plane 1 .*a tenth/)
  at(5.1 * 365)
  expect((await loadTrustAlerts(test1.centre))[0]).toMatch(/^control-plane 1 .*it has ended/)
})
