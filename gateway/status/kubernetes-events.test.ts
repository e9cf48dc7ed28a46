import { expect, test } from 'vitest'
import type { Asked, KubeApi } from '#gateway/kube-api.ts'
import { type EventParts, kubernetesEvents } from '#gateway/status/kubernetes-events.ts'
import type { Notice } from '#mesh/mcs/notices.ts'
import { Problem } from '#mesh/model/problem.ts'

const about = {
  apiVersion: 'multicluster.x-k8s.io/v1beta1',
  kind: 'ServiceExport',
  namespace: 'shop',
  name: 'web',
  uid: 'u',
}
const notice: Notice = { type: 'Warning', reason: 'PortConflict', note: 'port 80 is another' }

function open(more: Partial<EventParts> = {}) {
  const asked: { method: string; path: string; body: Record<string, unknown> }[] = []
  let at = Date.parse('2026-01-02T03:04:05Z')
  let problem: Problem | undefined
  const call = async (method: string, path: string, { body }: Asked = {}): Promise<unknown> => {
    asked.push({ method, path, body: body as Record<string, unknown> })
    if (problem) throw problem
    return {}
  }
  const api = { call: call as KubeApi['call'] }
  const events = kubernetesEvents({ api, instance: 'relay-1', log: { warn: () => undefined }, now: () => at, ...more })
  const said = async () => {
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    return asked.splice(0)
  }
  return {
    events,
    said,
    pass: (ms: number): void => {
      at += ms
    },
    fail: (next: Problem | undefined): void => {
      problem = next
    },
  }
}

test('an Event names its object, in its namespace', async () => {
  const { events, said } = open()
  events.say(about, notice)
  const [one] = await said()
  expect(one).toMatchObject({
    ...{ method: 'POST', path: '/apis/events.k8s.io/v1/namespaces/shop/events' },
    body: {
      ...{
        eventTime: '2026-01-02T03:04:05.000000Z',
        reportingController: 'isthmus.dev/relay',
        reportingInstance: 'relay-1',
      },
      ...{ regarding: about, type: 'Warning', reason: 'PortConflict', note: 'port 80 is another', action: 'Reconcile' },
    },
  })
  events.say({ apiVersion: 'isthmus.dev/v1alpha1', kind: 'SamenessGroup', name: 'prod' }, notice)
  expect((await said())[0]?.path).toBe('/apis/events.k8s.io/v1/namespaces/default/events')
})

test('what comes again is counted up, and not each time', async () => {
  const { events, said, pass } = open()
  events.say(about, notice)
  const [first] = await said()
  for (let n = 0; n < 5; n += 1) events.say(about, notice)
  expect(await said()).toEqual([])
  pass(61_000)
  events.say(about, notice)
  const { name } = (first?.body['metadata'] ?? {}) as { name: string }
  expect(await said()).toMatchObject([
    { method: 'PATCH', path: expect.stringContaining(name), body: { series: { count: 7 } } },
  ])
  pass(3_600_000)
  events.say(about, notice)
  expect(await said()).toMatchObject([{ method: 'POST' }])
})

test('one that the server has forgotten is told anew', async () => {
  const { events, said, pass, fail } = open()
  events.say(about, notice)
  await said()
  pass(61_000)
  fail(new Problem('not-found', 'gone'))
  events.say(about, notice)
  expect((await said()).map(({ method }) => method)).toEqual(['PATCH', 'POST'])
})

test('a flood is bounded in requests and in memory, and what is left out is counted', async () => {
  const { events, said } = open({ limits: { burst: 3, perSecond: 0.001, waiting: 10 } })
  // The first is on its way before the second is said.
  for (let n = 0; n < 100; n += 1) events.say({ ...about, name: `s${n}` }, notice)
  expect(await said()).toHaveLength(3)
  expect(events.counts()).toEqual({ said: 3, leftOut: 89 })
  await events.stop()
})

test('a server that takes none costs nothing but a count', async () => {
  const { events, said, fail } = open()
  fail(new Problem('forbidden', 'no'))
  events.say(about, notice)
  expect(await said()).toHaveLength(1)
  expect(events.counts()).toEqual({ said: 0, leftOut: 1 })
})
