import { expect, onTestFinished, test } from 'vitest'
import { newId } from '#control/new-id.ts'
import { appendAudit, loadAudit } from '#control/store/audit.ts'
import { insertCertificate } from '#control/store/certificates.ts'
import { kept } from '#control/store/kept.ts'
import { audit } from '#control/store/schema/audit.ts'
import { certificates } from '#control/store/schema/certificate.ts'
import { compiled } from '#control/store/schema/compiled.ts'
import { audiences, items, streams } from '#control/store/schema/stream.ts'
import { append } from '#control/store/stream-writes.ts'
import { tombstoneMsMin } from '#control/store/sweep.ts'
import { keptMs, sweepCentre } from '#functions/sweep/sweeper.ts'
import { openTestCentre } from '#tests/support/centre.ts'

const dayMs = 24 * 60 * 60_000

test('one sweep takes all that time has made useless, however much, and nothing younger', async () => {
  const { centre, db, clock, close } = await openTestCentre()
  onTestFinished(close)
  const { mesh } = centre
  const ref = { mesh, stream: 'ep/east/all' }
  const keys = Array.from({ length: 1200 }, (_, n) => `shop/s${n}`)
  const said = (at: number) => ({ mesh, id: newId(at), at, caller: 'test', action: 'test', object: '', detail: '{}' })
  const ended = (serial: string, notAfter: number) =>
    ({ mesh, serial, notAfter, clusterId: '', kind: 'issuing', spkiSha256: '', authorityId: '', issuedAt: 0 }) as const
  const { now } = clock
  await db.transact((tx) =>
    append(
      tx,
      ref,
      keys.map((key) => ({ key, body: {} })),
      now,
    ),
  )
  await db.transact((tx) =>
    append(
      tx,
      ref,
      keys.map((key) => ({ key, body: undefined })),
      now,
    ),
  )
  await db.transact(async (tx) => {
    const events = Array.from({ length: 600 }, () => said(now - keptMs.audit))
    kept(tx, audit, await tx.insert(audit).values(events).returning())
    await insertCertificate(tx, ended('old', now - keptMs.certificatesEnded))
    await insertCertificate(tx, ended('young', now))
    // Six hundred in use, older than the one that is not.
    const used = Array.from({ length: 600 }, (_, n) => `u${n}`)
    const dated = (audience: string, usedAt: number) => ({ mesh, audience, members: '[]', usedAt })
    await tx.insert(audiences).values([...used.map((name) => dated(name, 1)), dated('unused', 9)])
    const stream = (await tx.select().from(streams)).find((row) => row.stream === ref.stream)
    if (!stream) throw new Error('no stream')
    const of = (audience: string) => ({ ...stream, stream: `ep/east/${audience}`, audience, updatedAt: now + dayMs })
    await tx.insert(streams).values(used.map(of))
  })
  clock.now += tombstoneMsMin + 1
  await db.transact((tx) => appendAudit(tx, said(clock.now)))
  await sweepCentre(centre)

  const left = await db.read(async (tx) => ({
    tombstones: (await tx.select().from(items)).filter((item) => item.stream === ref.stream).length,
    audit: (await loadAudit(tx, mesh, '', 1000)).filter((event) => event.caller === 'test').map((event) => event.at),
    audiences: (await tx.select().from(audiences)).filter((row) => row.audience === 'unused').length,
    certificates: (await tx.select().from(certificates)).map((row) => row.serial).filter((s) => s.length < 8),
  }))
  expect(left).toEqual({ tombstones: 0, audit: [clock.now], audiences: 0, certificates: ['young'] })
})

test('however young: no more than a bound is kept, the oldest go, and a loud cluster takes nothing from others', async () => {
  const { centre, db, clock, close, admin } = await openTestCentre()
  onTestFinished(close)
  const { mesh } = centre
  const ids = new Map<string, string>()
  for (const name of ['east', 'west']) {
    const { body } = await admin('POST', '/v1/clusters', { name })
    ids.set(name, String(body['id']))
  }
  let at = clock.now
  const said = (caller: string, n: number) => ({
    ...{ mesh, id: newId(++at), at, caller, action: 'test', object: `${n}`, detail: '{}' },
  })
  const times = <T>(many: number, make: (n: number) => T): T[] => Array.from({ length: many }, (_, n) => make(n))
  const issued = (cluster: string, n: number) => ({
    ...{ mesh, serial: `${cluster}${n}`, notAfter: at + dayMs, clusterId: ids.get(cluster) ?? '', issuedAt: at + n },
    ...({ kind: 'issuing', spkiSha256: '', authorityId: '' } as const),
  })
  const config = (n: number) => ({
    ...{ mesh, cluster: 'east', revision: n + 1, hash: `${n}`, cause: '', author: '', at, body: '{}' },
  })
  await db.transact(async (tx) => {
    const events = [
      ...times(3, (n) => said('operator:one', n)),
      ...times(700, (n) => said('cluster:east', n)),
      ...times(2, (n) => said('cluster:west', n)),
    ]
    kept(tx, audit, await tx.insert(audit).values(events).returning())
    const istiod = { ...issued('east', -1), serial: 'east-istiod', kind: 'istiod-ca' as const }
    const facts = [istiod, ...times(9, (n) => issued('east', n)), ...times(2, (n) => issued('west', n))]
    kept(tx, certificates, await tx.insert(certificates).values(facts).returning())
    await tx.insert(compiled).values(times(9, config))
  })
  const left = async () => ({
    events: (await db.read((tx) => loadAudit(tx, mesh, '', 1000)))
      .filter((event) => event.action === 'test')
      .map(({ caller, object }) => `${caller} ${object}`),
    certificates: (await db.read((tx) => tx.select().from(certificates)))
      .map(({ serial }) => serial)
      .filter((serial) => /^(east|west)/.test(serial))
      .toSorted(),
    configs: (await db.read((tx) => tx.select().from(compiled))).map(({ revision }) => revision).toSorted(),
  })
  const operators = ['operator:one 2', 'operator:one 1', 'operator:one 0']
  const max = { compiled: 2, certificates: 3, audit: { perCluster: 4, inAll: 1000 } }
  await sweepCentre(centre, max)
  const east = [699, 698, 697, 696].map((n) => `cluster:east ${n}`)
  expect(await left()).toEqual({
    events: ['cluster:west 1', 'cluster:west 0', ...east, ...operators],
    // The root's rotation waits for an istiod's CA, which nobody renews: a relay that restarts does not make it forgotten.
    certificates: ['east-istiod', 'east6', 'east7', 'east8', 'west0', 'west1'],
    configs: [8, 9],
  })
  await sweepCentre(centre, { ...max, audit: { perCluster: 4, inAll: 5 } })
  expect((await left()).events).toEqual(['cluster:west 1', 'cluster:west 0', ...east.slice(0, 3)])
})
