import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { portOwner } from '#functions/port-owner.ts'

test('a port that somebody listens on is named with the process, a free one is nobody’s', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  expect(portOwner(port)).toMatch(new RegExp(`\\(pid ${process.pid}\\)$`))
  server.close()
  await once(server, 'close')
  expect(portOwner(port)).toBeUndefined()
})
