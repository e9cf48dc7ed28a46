import { expect, test } from 'vitest'
import { readRollout } from '#cli/onboard/rollout.ts'
import { fakeClusterApi } from '#tests/support/fake-cluster-api.ts'

const system = '/api/v1/namespaces/isthmus-system'
const relay = (status: object) => ({
  '/apis/apps/v1/namespaces/isthmus-system/deployments/relay': {
    ...{ metadata: { generation: 2 }, spec: { replicas: 2 } },
    status: { observedGeneration: 2, updatedReplicas: 2, ...status },
  },
})
const container = (state: object, more: object = {}) => ({
  name: 'relay',
  image: 'r/relay:1',
  state,
  ready: false,
  ...more,
})
const pod = (status: object) => ({ [`${system}/pods`]: [{ metadata: { name: 'relay-1' }, status }] })
const running = (state: object, more?: object) => pod({ containerStatuses: [container(state, more)] })
const log = { [`${system}/pods/relay-1/log`]: 'starting\nisthmus relay: it cannot go on\n' }

test('is done when all replicas of the newest generation are available', async () => {
  expect(await readRollout(fakeClusterApi(relay({ availableReplicas: 2 })), 'relay')).toEqual({
    ready: 2,
    wanted: 2,
    isDone: true,
  })
})

test.each([
  ['the generation before', { availableReplicas: 2, observedGeneration: 1 }, 2],
  ['old replicas beside new ones', { availableReplicas: 2, updatedReplicas: 1 }, 1],
])('is not done by %s', async (_, status, ready) => {
  expect(await readRollout(fakeClusterApi(relay(status)), 'relay')).toMatchObject({ isDone: false, ready })
})

test('nothing is not done', async () => {
  expect(await readRollout(fakeClusterApi({}), 'relay')).toMatchObject({ isDone: false, why: 'it has no pod yet' })
})

type Case = readonly [name: string, answers: object, why: string, isStuck: boolean | undefined]
const cases: readonly Case[] = [
  [
    'an image that cannot be pulled',
    running({ waiting: { reason: 'ImagePullBackOff', message: 'no such host' } }),
    'pod relay-1 cannot pull r/relay:1: no such host',
    true,
  ],
  [
    'an image whose first pull has failed',
    running({ waiting: { reason: 'ErrImagePull' } }),
    'pod relay-1 cannot pull r/relay:1: ErrImagePull',
    false,
  ],
  [
    'a pod without a node',
    pod({ conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3 nodes are available' }] }),
    'pod relay-1 finds no node: 0/3 nodes are available',
    undefined,
  ],
  [
    'a program that ends again and again',
    { ...running({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 5 }), ...log },
    'pod relay-1 ended 5 times; its last words: isthmus relay: it cannot go on',
    true,
  ],
  [
    'a program that ended long ago, and runs',
    { ...running({ running: {} }, { restartCount: 5 }), ...log },
    'pod relay-1 ended 5 times; its last words: isthmus relay: it cannot go on',
    false,
  ],
  [
    'a log that is gone',
    running({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 1 }),
    'its last words: its log cannot be had',
    false,
  ],
  ['a program that is not ready', running({ running: {} }), 'pod relay-1 runs and is not ready yet', undefined],
]
test.each(cases)('%s is named', async (_, answers, why, isStuck) => {
  const found = await readRollout(fakeClusterApi({ ...relay({}), ...answers }), 'relay')
  expect(found.why).toContain(why)
  expect([found.isDone, found.isStuck]).toEqual([false, isStuck])
})
