import { expect, test } from 'vitest'
import { bringUp } from './bring-up.ts'
import { planSandbox } from './plan.ts'
import type { Sandbox } from './sandbox.ts'

test('a start that is cut off tells nothing about relays that it did not wait for', async () => {
  const plan = planSandbox('/nowhere', { ISTHMUS_SANDBOX_OCTET: '238' })
  const nothing = async () => undefined
  const sandbox = {
    ...{
      members: [],
      startFrontDoor: () => undefined,
      startCentre: nothing,
      startMember: nothing,
      memberReady: nothing,
    },
    api: () => ({ call: () => Promise.reject(new Error('away')), close: () => undefined }),
  } as unknown as Sandbox
  const warned: string[] = []
  const progress = { done: () => undefined, centreUp: () => undefined, warn: (line: string) => void warned.push(line) }
  await expect(bringUp(sandbox, plan, progress, AbortSignal.abort())).rejects.toThrow(/abort/i)
  expect(warned).toEqual([])
})
