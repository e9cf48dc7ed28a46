import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { listenerOf } from '#functions/api/listener.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'

let centre: TestCentre
let east: TestRelay
beforeAll(async () => {
  centre = await openTestCentre()
  east = await new TestRelay(centre, 'east').join()
  await centre.settle()
  await east.pull()
})
afterAll(() => centre.close())

/** From where it stands, so that there is nothing to tell. */
const waiting = () => ({
  ...{ proto: meshSyncText, waitMs: 20_000 },
  have: [...east.held].map(([stream, { epoch, rev }]) => [stream, epoch, rev]),
})
const waits = async (count: number) =>
  vi.waitFor(async () => expect((await centre.door.metrics.waiting.get()).values[0]?.value ?? 0).toBe(count), 5000)

describe('a pull that waits', () => {
  test('ends with its caller', async () => {
    const server = createServer(listenerOf(centre.api)).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const headers = { authorization: `Bearer ${east.bearer}`, 'content-type': 'application/json' }
    const { port } = server.address() as AddressInfo
    const asked = request({ host: '127.0.0.1', port, path: '/v1/pull', method: 'POST', headers })
    asked.on('error', () => undefined).end(JSON.stringify(waiting()))
    await waits(1)
    asked.destroy()
    await waits(0)
  })

  test('is one of four at most of its cluster: the eldest is answered, the newest waits', async () => {
    let answered = 0
    const ask = async () => {
      const answer = await centre.call('POST', '/v1/pull', { bearer: east.bearer, body: waiting() })
      answered++
      return answer
    }
    const asked = []
    for (let n = 1; n <= 4; n++) {
      asked.push(ask())
      await waits(n)
    }
    asked.push(ask())
    expect((await asked[0])?.body).toMatchObject({ streams: [] })
    await waits(4)
    expect(answered).toBe(1)
    centre.centre.bus.announce({ kind: 'cluster-void', clusterId: east.id })
    await Promise.all(asked)
    await waits(0)
  })
})
