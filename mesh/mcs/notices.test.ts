import { expect, test } from 'vitest'
import type { Change } from '#mesh/mcs/changes.ts'
import { noticesOf, shiftNotices } from '#mesh/mcs/notices.ts'
import type { ObjectCondition } from '#mesh/mcs/objects.ts'
import { seenOf, web } from '#mesh/mcs/testing/two-clusters.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import type { Shift } from '#mesh/model/traffic.ts'

const condition = (
  type: string,
  status: ObjectCondition['status'],
  reason: string,
  message = reason,
): ObjectCondition => ({
  ...{ type, status, reason, message },
})
const told = (now: readonly ObjectCondition[], before: readonly ObjectCondition[]) => {
  const change: Change = { kind: 'export status', key: web, conditions: now }
  const seen = seenOf({ exports: new Map([[web, { uid: 'u', resourceVersion: '1', conditions: before }]]) })
  return noticesOf(change, seen).map(({ type, reason }) => `${type} ${reason}`)
}
const good = condition('Conflict', 'False', 'NoConflicts')
const bad = condition('Conflict', 'True', 'PortConflict,TypeConflict', 'port 80')

test('what turned bad is told once, what is well again too, and nothing else', () => {
  expect(told([good], [])).toEqual([])
  expect(told([bad], [good])).toEqual(['Warning PortConflict'])
  expect(told([bad], [bad])).toEqual([])
  expect(told([{ ...bad, message: 'port 90' }], [bad])).toEqual(['Warning PortConflict'])
  expect(told([good], [bad])).toEqual(['Normal NoConflicts'])
  const why = 'there is no Service'
  expect(told([condition('Valid', 'False', 'NoService', why), condition('Ready', 'False', 'Failed', why)], [])).toEqual(
    ['Warning NoService'],
  )
})

test('a shift is told on its services, the first of many, with its evidence', () => {
  const [a, b] = [parseClusterName('a'), parseClusterName('b')]
  const services = Array.from({ length: 20 }, (_, n) => `shop/s${n}` as typeof web)
  const shift: Shift = {
    ...{
      seq: 1,
      at: 0,
      kind: 'shift',
      cluster: a,
      services,
      servicesCount: 40,
      from: [a],
      to: [b],
      failedMeanwhile: 0,
    },
    evidence: { probe: { failed: 3, of: 3, last: 'timeout', forMs: 3000 } },
  }
  const all = shiftNotices(shift)
  expect(all).toHaveLength(10)
  expect(all[0]?.notice).toEqual({
    ...{ type: 'Warning', reason: 'TrafficShifted' },
    note:
      'calls of this cluster go from a to b, because a takes them no more (3 of 3 probes failed, the last one: timeout)' +
      '; one of 40 services; 0 calls failed meanwhile',
  })
  expect(shiftNotices({ ...shift, kind: 'return' })[0]?.notice).toMatchObject({
    type: 'Normal',
    reason: 'TrafficReturns',
  })
})
