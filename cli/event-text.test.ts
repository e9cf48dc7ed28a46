import { expect, test } from 'vitest'
import { eventText } from '#cli/event-text.ts'

const shift = {
  ...{ kind: 'shift', cluster: 'a', services: ['shop/web'], servicesCount: 1, from: ['a'], to: ['b', 'c'] },
  ...{ evidence: { probe: { failed: 2, of: 3, last: 'timeout', forMs: 6100 } }, failedMeanwhile: 4 },
}
const five = { services: ['s/1', 's/2', 's/3', 's/4'], servicesCount: 60 }

test.each([
  [
    'a shift: what moved where, by which evidence',
    ['traffic.shift', shift],
    'shop/web: a → b, c; 2 of 3 gateways did not answer (timeout); failed meanwhile: 4',
  ],
  [
    'what is not measured is not 0; of many services the first',
    ['traffic.return', { ...shift, ...five, evidence: { ready: { ready: 1, total: 2 } }, failedMeanwhile: null }],
    's/1, s/2, s/3 and 57 more: a → b, c; 1 of 2 pods ready; failed meanwhile: not measured',
  ],
  [
    'a service’s probe, as it was answered',
    [
      'traffic.shift',
      { ...shift, evidence: { service: { probe: 'GET /healthz', said: '503', failed: 3, of: 3, forMs: 6000 } } },
    ],
    'shop/web: a → b, c; probe GET /healthz: 503, 3 of 3; failed meanwhile: 4',
  ],
  ['a step of a drain', ['drain.step', { id: 'x', percent: 50, why: 'callers are told' }], '50 %: callers are told'],
  ['anything else as it is', ['cluster.join', { generation: 1 }], '{"generation":1}'],
  ['a shift of another version as it is', ['traffic.shift', { kind: 'shift' }], '{"kind":"shift"}'],
] as const)('%s', (_, [action, detail], text) => expect(eventText({ action, detail })).toBe(text))
