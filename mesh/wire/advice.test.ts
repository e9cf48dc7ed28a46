import { expect, test } from 'vitest'
import type { Json } from '#mesh/model/canonical.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import type { DrainAdvice } from '#mesh/model/traffic.ts'
import { adviceKeys, drainItem, parseAdvice } from '#mesh/wire/advice.ts'

const drain: DrainAdvice = {
  ...{ id: 'd1', kind: 'cluster', cluster: parseClusterName('b'), percent: 50, phase: 'ramping' },
}
const gateway = 'a'.repeat(64)

test('what is written is read', () => {
  const frozen = { by: 'ann', reason: 'a day of quiet', at: 5 }
  const other: DrainAdvice = { ...drain, id: 'd2', kind: 'gateway', gateway }
  const items = new Map<string, Json>([
    [adviceKeys.drain('d1'), drainItem(drain)],
    [adviceKeys.drain('d2'), drainItem(other)],
    [adviceKeys.freeze, frozen],
    [adviceKeys.lost('c'), { since: 1, until: 2 }],
  ])
  expect(parseAdvice(items)).toEqual({
    advice: { drains: [drain, other], frozen, lost: [{ cluster: 'c', since: 1, until: 2 }] },
    unread: [],
  })
})

test('what is not understood is named, and the rest counts', () => {
  const items = new Map<string, Json>([
    ['drain/ok', { ...Object(drainItem(drain)), more: 1 }],
    ['drain/many', { ...Object(drainItem(drain)), percent: 101 }],
    ['drain/nobody', { ...Object(drainItem(drain)), cluster: 'No' }],
    ['drain/which', { ...Object(drainItem(drain)), kind: 'gateway' }],
    ['drain/none', null],
    ['freeze', []],
    ['lost/No', { since: 1, until: 2 }],
    ['weather', 'fine'],
  ])
  const { advice, unread } = parseAdvice(items)
  expect(advice).toEqual({ drains: [{ ...drain, id: 'ok' }], lost: [], frozen: expect.objectContaining({ at: 0 }) })
  expect(unread).toEqual(['drain/many', 'drain/nobody', 'drain/which', 'drain/none', 'freeze', 'lost/No', 'weather'])
})

test('of what was understood before the last word stays: no cluster gets everything back by a word of a later centre', () => {
  const frozen = { by: 'ann', reason: 'a day of quiet', at: 5 }
  const said = new Map<string, Json>([
    [adviceKeys.drain('d1'), drainItem(drain)],
    [adviceKeys.freeze, frozen],
  ])
  const before = parseAdvice(said).advice
  const later = new Map<string, Json>([
    [adviceKeys.drain('d1'), { ...Object(drainItem(drain)), phase: 'resting' }],
    [adviceKeys.freeze, { for: 'everybody' }],
  ])
  expect(parseAdvice(later, before)).toEqual({ advice: before, unread: ['drain/d1', 'freeze'] })
  expect(parseAdvice(new Map(), before).advice).toEqual({ drains: [], lost: [] })
})
