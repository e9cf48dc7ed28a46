import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { askToDrain } from '#gateway/proxy/ask-drain.ts'
import { beginDrain } from '#gateway/proxy/drain.ts'
import type { Admin } from '#gateway/proxy/envoy-admin.ts'
import { serveStatus } from '#gateway/proxy/status.ts'

test('a pod that begins to end: Envoy refuses new callers of the pod, and tells those that it has', async () => {
  const asked: string[] = []
  const admin = {
    text: async (method: string, path: string) => `${asked.push(`${method} ${path}`)}`,
  } as unknown as Admin
  const server = await serveStatus(
    { host: '127.0.0.1', port: 0 },
    {
      ...{ admin, fault: async () => undefined, samples: () => ({}), quit: () => undefined },
      ...{ probed: async () => undefined, drain: () => beginDrain(admin) },
    },
  )
  const { port } = server.address() as AddressInfo
  await askToDrain({ host: '0.0.0.0', port })
  expect(asked).toEqual(['POST /healthcheck/fail', 'POST /drain_listeners?inboundonly'])
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
  await expect(askToDrain({ host: '0.0.0.0', port })).rejects.toMatchObject({ kind: 'unavailable' })
})
