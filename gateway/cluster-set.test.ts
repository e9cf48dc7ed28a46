import { createServer } from 'node:net'
import pino from 'pino'
import { afterEach, expect, test } from 'vitest'
import { type ClusterSet, type ClusterSetParts, openClusterSet } from '#gateway/cluster-set.ts'
import type { Standing } from '#gateway/ground.ts'
import type { Asked } from '#gateway/kube-api.ts'
import { viewOf, web } from '#mesh/mcs/testing/two-clusters.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import type { Shift } from '#mesh/model/traffic.ts'
import type { RejectedObject } from '#mesh/model/view.ts'
import { eventually } from '#tests/support/until.ts'

const [a, b] = [parseClusterName('a'), parseClusterName('b')]
const shift = (seq: number): Shift => ({
  ...{ seq, at: 0, kind: 'shift', cluster: a, services: [web], servicesCount: 1, from: [a], to: [b] },
  ...{ evidence: {}, failedMeanwhile: null },
})

let set: ClusterSet | undefined
afterEach(() => set?.stop())

/** A cluster in which one import is known; `posted` are the Events that were told. */
function open(dnsPort = 0) {
  const posted: { reason: string; regarding: object }[] = []
  const state = { leads: true, shifts: [shift(1)], rejected: [] as RejectedObject[] }
  const imports = new Map([[web, { uid: 'u', resourceVersion: '1', isOurs: true, refuses: true }]])
  const parts = {
    kubernetes: {
      api: {
        call: async (_: string, path: string, { body }: Asked) => {
          if (path.endsWith('/events')) posted.push(body as (typeof posted)[number])
          return {}
        },
      },
      ...{ settings: {}, lead: { leads: () => state.leads }, onLead: () => () => undefined },
    },
    watch: {
      also: (kind: string) => (kind === 'ServiceImport' ? imports : new Map()),
      ...{
        version: () => 'v1beta1',
        isSynced: () => true,
        onAlso: () => () => undefined,
        rejected: () => state.rejected,
      },
    },
    ...{ settings: { relay: { address: '127.0.0.1', dnsPort } }, log: pino({ level: 'silent' }) },
  } as unknown as ClusterSetParts
  const opened = openClusterSet(parts)
  set = opened
  opened.start({ view: () => viewOf(), remarks: () => [], shifts: () => state.shifts } as unknown as Standing)
  const told = () => posted.map(({ reason }) => reason)
  return { set: opened, state, posted, told }
}

test('a shift is told once, on the import of its service, and only by the one that leads', async () => {
  const { set: one, state, posted, told } = open()
  one.shifted()
  state.shifts = [shift(1), shift(2)]
  one.shifted()
  one.shifted()
  await eventually(20_000, 'it is told', () => told().length === 1)
  expect(posted[0]).toMatchObject({
    reason: 'TrafficShifted',
    regarding: {
      apiVersion: 'multicluster.x-k8s.io/v1beta1',
      kind: 'ServiceImport',
      namespace: 'shop',
      name: 'web',
      uid: 'u',
    },
  })
  state.leads = false
  state.shifts = [{ ...shift(3), kind: 'return' }]
  one.shifted()
  state.leads = true
  state.shifts = [...state.shifts, { ...shift(4), kind: 'ramp-done' }]
  one.shifted()
  await eventually(20_000, 'the last is told', () => told().includes('TrafficReturned'))
  expect(told()).not.toContain('TrafficReturns')
})

test('what is set aside is told under its object, once; a fault of a whole kind is none of an object', async () => {
  const { set: one, state, posted, told } = open()
  const service = {
    at: '/api/v1/namespaces/shop/services/odd',
    object: 'Service shop/odd',
    reason: 'spec.ports: wrong',
  }
  state.rejected = [{ at: 'services', object: 'Service', reason: 'away' }, service]
  one.look()
  one.look()
  await eventually(20_000, 'it is told', () => told().length === 1)
  expect(posted[0]).toMatchObject({
    ...{ reason: 'SetAside', note: 'spec.ports: wrong' },
    regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'shop', name: 'odd' },
  })
})

test('a port for names that is taken is said, and the relay goes on', async () => {
  const other = createServer()
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
  const { port } = other.address() as { port: number }
  const { set: one } = open(port)
  await eventually(20_000, 'it is said', () => one.conditions().some(({ type }) => type === 'NamesNotAnswered'))
  await new Promise((done) => other.close(done))
})
