import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { planSandbox, relayAddress, statusPort } from './plan.ts'
import { relayStanding } from './relay-standing.ts'

test('a relay is asked until it knows, and what it says is said', async () => {
  const [cluster] = planSandbox('/x', { ISTHMUS_SANDBOX_OCTET: '237' }).clusters
  if (!cluster) throw new Error('a plan has clusters')
  const said = [
    { state: 'joining' },
    { centre: { state: 'away' } },
    { centre: { state: 'refused', reason: 'it has left' } },
  ]
  const server = createServer((_, answer) => answer.end(JSON.stringify(said.length > 1 ? said.shift() : said[0])))
  await new Promise<void>((resolve) => server.listen(statusPort, relayAddress(cluster), resolve))
  const never = new AbortController().signal
  expect(await relayStanding(cluster, never)).toEqual({ state: 'refused', reason: 'it has left' })
  server.close()
  server.closeAllConnections()
  expect(await relayStanding(cluster, AbortSignal.abort())).toMatchObject({ state: 'silent' })
})
