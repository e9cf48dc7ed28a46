import { expect, onTestFinished, test } from 'vitest'
import { newId } from '#control/new-id.ts'
import { appendAudit, loadAudit } from '#control/store/audit.ts'
import { insertCertificate } from '#control/store/certificates.ts'
import { certificates } from '#control/store/schema/certificate.ts'
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
    for (let n = 0; n < 600; n++) await appendAudit(tx, said(now - keptMs.audit))
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
