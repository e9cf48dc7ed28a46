import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { adoptGeneration, laterGeneration } from '#gateway/new-generation.ts'
import type { Self } from '#gateway/self.ts'
import { loadMembership, type Membership, saveMembership } from '#gateway/uplink/membership.ts'
import type { TrustFacts } from '#mesh/model/cluster-config.ts'

const dir = mkdtempSync(join(tmpdir(), 'generation-'))
afterAll(() => rmSync(dir, { recursive: true }))
const membership: Membership = {
  ...{ clusterId: 'c', cluster: 'west', mesh: 'mesh1', trustDomain: 'west.mesh1', generation: 1 },
  ...{ controlPlaneCa: 'ca', time: 1, url: 'https://centre', keyId: 'k' },
}
const selfWith = (one: Membership): Self => ({ membership: one }) as unknown as Self
const facts = (trustDomain: string, generation?: number): TrustFacts =>
  ({ trustDomain, ...(generation === undefined ? {} : { generation }) }) as TrustFacts
const next = { trustDomain: 'west-g2.mesh1', generation: 2 }

test('a later generation is taken up; the own one, an earlier one, and a config of an older centre are not', () => {
  const of = (trust: TrustFacts | undefined) => laterGeneration(selfWith(membership), trust)
  expect(of(facts('west-g2.mesh1', 2))).toEqual(next)
  for (const trust of [facts('west.mesh1', 1), facts('west-g2.mesh1', 1), facts('west-g2.mesh1'), undefined])
    expect(of(trust)).toBeUndefined()
  expect(laterGeneration({ fault: 'lost' } as unknown as Self, facts('west-g2.mesh1', 2))).toBeUndefined()
})

test('killed between the two writes of the membership: it starts as who it was, and is told the same again', () => {
  saveMembership(dir, membership)
  const path = join(dir, 'membership.json')
  copyFileSync(path, join(dir, 'before'))
  adoptGeneration(dir, membership, next)
  expect(loadMembership(dir)).toEqual({ ...membership, ...next })
  copyFileSync(join(dir, 'before'), path)
  const found = loadMembership(dir)
  expect(found).toEqual(membership)
  expect(found && laterGeneration(selfWith(found), facts('west-g2.mesh1', 2))).toEqual(next)
})
