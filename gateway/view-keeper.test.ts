import { expect, test } from 'vitest'
import { viewKeeper } from '#gateway/view-keeper.ts'
import { parseRange } from '#mesh/mcs/addresses.ts'
import { emptyOwn, viewOf, web } from '#mesh/mcs/testing/two-clusters.ts'

const { home } = viewOf()
const imports = new Map([[web, { key: web, createdAt: 1, ip: '241.0.0.1', parts: {} }]])
const own = { ...emptyOwn, imports }
const log = { warn: () => undefined }

test('addresses of imported services count within the range alone, and are the same object until one moves', () => {
  const keeper = viewKeeper({ home, own, log, clusterSetRange: parseRange('241.0.0.0/24') })
  const before = keeper.view().clusterSet
  expect(before).toEqual(new Map([[web, { ip: '241.0.0.1', parts: {} }]]))
  keeper.own({ ...own, services: new Map() })
  expect(keeper.view().clusterSet).toBe(before)
  keeper.own({ ...own, imports: new Map([[web, { key: web, createdAt: 1, ip: '10.0.0.1', parts: {} }]]) })
  expect(keeper.view().clusterSet?.get(web)).toEqual({ parts: {} })
})

test('without a range there are none', () => {
  expect(viewKeeper({ home, own, log }).view().clusterSet).toBeUndefined()
})
