import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Note } from '#control/bus.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { exported } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

let test1: TestCentre
let east: TrustingRelay
let west: TrustingRelay
const notes: Note[] = []
beforeAll(async () => {
  test1 = await openTestCentre()
  test1.centre.bus.listen((note) => notes.push(note))
  east = await TrustingRelay.join(test1, 'east')
  west = await TrustingRelay.join(test1, 'west')
  for (const relay of [east, west]) await relay.keepUp()
  await east.relay.sync({ 'export/shop/web': exported() })
  await west.relay.sync({ 'export/shop/cart': exported() })
  await test1.settle()
})
afterAll(() => test1.close())

const certified = ({ relay }: TrustingRelay, csr: string) =>
  test1.call('POST', `/v1/clusters/${relay.id}/certificates`, { bearer: relay.bearer, body: { kind: 'issuing', csr } })
const revoke = (body: object) => test1.admin('POST', '/v1/revocations', body)
const configOf = (relay: TrustingRelay, name: string) =>
  [...(relay.relay.held.get(`cfg/${name}`)?.items ?? [])].map(([key, text]) => `${key} ${text}`).join('\n')

test('a revoked cluster is out of the bundle before anything is compiled; its relay, tokens and joins are refused', async () => {
  await west.relay.pull()
  expect(configOf(west, 'west')).toContain('shop/web')
  notes.length = 0
  const { status, body } = await revoke({ kind: 'cluster', subject: 'east', reason: 'its relay was stolen' })
  expect([status, body]).toMatchObject([201, { cut: 1, trustDomain: 'east.mesh1', newMsMax: null }])
  // Nothing was published meanwhile: the bundle alone says it.
  await west.take()
  expect([west.fault, west.bundle?.revoked]).toMatchObject([undefined, [{ trustDomain: 'east.mesh1', cut: 1 }]])
  expect(notes).toContainEqual({ kind: 'cluster-void', clusterId: east.relay.id })
  expect(notes.find((note) => note.kind === 'streams' && note.urgent)).toBeDefined()

  const pulled = { bearer: east.relay.bearer, body: { proto: 'mesh-sync/1.0', have: [] } }
  expect((await test1.call('POST', '/v1/pull', pulled)).status).toBe(401)
  expect((await east.relay.sync({})).status).toBe(401)
  expect((await east.relay.authenticate()).status).toBe(401)
  const csr = { kind: 'issuing', csr: 'x'.repeat(200) }
  const sign = await test1.call('POST', `/v1/clusters/${east.relay.id}/certificates`, {
    bearer: east.relay.bearer,
    body: csr,
  })
  expect(sign.status).toBe(401)
  expect((await test1.admin('POST', '/v1/clusters/east/join-tokens')).status).toBe(409)
  expect((await test1.admin('PUT', '/v1/clusters/east', {})).status).toBe(409)

  await test1.settle()
  await west.relay.pull()
  expect(configOf(west, 'west')).not.toContain('shop/web')
  // What it could call is cut once and for all.
  expect(configOf(west, 'west')).toContain('"cut":1')
})

test('the same again is the same revocation; one that has joined nothing has nothing to revoke', async () => {
  expect((await revoke({ kind: 'cluster', subject: 'east', reason: 'again' })).body).toMatchObject({ cut: 1 })
  expect((await revoke({ kind: 'cluster', subject: 'nowhere', reason: 'r' })).status).toBe(404)
  await test1.admin('PUT', '/v1/clusters/soon', {})
  expect((await revoke({ kind: 'cluster', subject: 'soon', reason: 'r' })).status).toBe(409)
  expect((await revoke({ kind: 'cluster', subject: 'east' })).status).toBe(400)
})

test('relays say how long it took, and the slowest counts once all have said it', async () => {
  west.said = { ...west.said, cuts: [{ cut: 1, receivedAt: test1.clock.now, newMs: 40, oldMs: 21_000 }] }
  await west.keepUp()
  const { body } = await test1.admin('GET', '/v1/revocations/1')
  expect(body).toMatchObject({
    relays: [{ cluster: 'west', newMs: 40, oldMs: 21_000 }],
    newMsMax: 40,
    oldMsMax: 21_000,
  })
})

test('undone, the cluster is a member again as it was; the cut stays, so that no chain is renamed twice', async () => {
  const undone = await test1.admin('POST', '/v1/revocations/1/undo', { reason: 'it was found' })
  expect([undone.status, undone.body['undoneAt']]).toEqual([200, expect.any(String)])
  await west.take()
  expect(west.bundle?.revoked).toEqual([])
  expect((await east.relay.authenticate()).status).toBe(200)
  await test1.settle()
  await west.relay.pull()
  expect(configOf(west, 'west')).toContain('shop/web')
  expect(configOf(west, 'west')).toContain('"cut":1')
  expect((await test1.admin('POST', '/v1/revocations/1/undo', { reason: 'twice' })).status).toBe(200)
})

test('a revoked issuer: the cluster goes on under its next generation, and what was signed for the one before is void', async () => {
  const leaked = await csrOf(keyInHand())
  expect((await certified(east, leaked)).status).toBe(200)
  const { status, body } = await revoke({ kind: 'issuer', subject: 'east', reason: 'its issuing key leaked' })
  expect([status, body]).toMatchObject([201, { kind: 'issuer', trustDomain: 'east.mesh1' }])
  // Tokens of the generation before open nothing; its own key still proves it.
  expect((await east.relay.sync({})).status).toBe(401)
  expect((await east.relay.authenticate()).status).toBe(200)
  for (const [relay, why] of [
    [east, 'was revoked'],
    [west, 'another cluster'],
  ] as const) {
    const refused = await certified(relay, leaked)
    expect([refused.status, refused.body['detail']]).toEqual([400, expect.stringContaining(why)])
  }
  await test1.settle()
  await east.relay.pull()
  expect(configOf(east, 'east')).toContain('"trustDomain":"east-g2.mesh1"')
  await west.take()
  expect(west.bundle?.revoked).toMatchObject([{ trustDomain: 'east.mesh1' }])
  await west.relay.pull()
  expect(configOf(west, 'west')).toContain('east-g2.mesh1')
  const undo = await test1.admin('POST', `/v1/revocations/${String(body['cut'])}/undo`, { reason: 'no' })
  expect([undo.status, undo.body['detail']]).toEqual([409, expect.stringContaining('stays revoked')])
})

test('a workload is denied by its id alone, as one writes it', async () => {
  const subject = 'spiffe://west.mesh1/ns/shop/sa/cart'
  const { status, body } = await revoke({ kind: 'workload', subject, reason: 'it was taken over' })
  expect(status).toBe(201)
  await east.take()
  expect([east.fault, east.bundle?.denied]).toEqual([undefined, [{ id: subject, cut: body['cut'] }]])
  for (const odd of ['west', 'spiffe://west.mesh1', 'spiffe://elsewhere.org/ns/a/sa/b', `${subject}/x`])
    expect([odd, (await revoke({ kind: 'workload', subject: odd, reason: 'r' })).status]).not.toEqual([odd, 201])
})

test('removed and created anew, a revoked cluster has a trust domain that was never revoked', async () => {
  const { body } = await revoke({ kind: 'cluster', subject: 'east', reason: 'for good' })
  expect(body['trustDomain']).toBe('east-g2.mesh1')
  await test1.admin('DELETE', '/v1/clusters/east')
  const made = await test1.admin('PUT', '/v1/clusters/east', {})
  expect(made.body).toMatchObject({ trustDomain: 'east-g3.mesh1', state: 'expected' })
  const undo = await test1.admin('POST', `/v1/revocations/${String(body['cut'])}/undo`, { reason: 'r' })
  expect(undo.status).toBe(409)
})

test('nobody but an administrator revokes', async () => {
  const made = await test1.admin('POST', '/v1/operator-keys', { name: 'ops', role: 'operator' })
  const bearer = String(made.body['key'])
  const send = { bearer, body: { kind: 'cluster', subject: 'west', reason: 'r' } }
  expect((await test1.call('POST', '/v1/revocations', send)).status).toBe(403)
  expect((await test1.call('POST', '/v1/rotations', { bearer, body: { kind: 'root' } })).status).toBe(403)
  expect((await test1.call('GET', '/v1/revocations', { bearer })).status).toBe(200)
})
