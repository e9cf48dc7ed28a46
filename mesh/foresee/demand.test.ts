import { expect, test } from 'vitest'
import { demandOf, demandsOf } from '#mesh/foresee/demand.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { LoadWindow } from '#mesh/model/load.ts'

const [home, far] = [parseClusterName('home'), parseClusterName('far')]
const [books, films] = [serviceKey('shop', 'books'), serviceKey('shop', 'films')]
const rows = [
  { service: books, callee: home, issued: 1000, ok: 0, errors: 0, active: 2 },
  { service: books, callee: far, issued: 2000, ok: 0, errors: 0, active: 1 },
]

test('what a cluster asks of a service is summed over all that serve it; who measures nothing is not known', () => {
  const window = { windowMs: 10_000, rows, gateways: [] } as unknown as LoadWindow
  const demands = demandsOf([[home, window]])
  expect(demandOf(demands, home, books)).toEqual({ requestsPerSecond: 300, connections: 3 })
  expect(demandOf(demands, home, films)).toEqual({ requestsPerSecond: 0, connections: 0 })
  expect(demandOf(demands, far, books)).toBeUndefined()
})
