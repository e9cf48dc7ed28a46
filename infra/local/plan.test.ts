import { expect, test } from 'vitest'
import { planSandbox, smokeEnvironment } from './plan.ts'

const environments = [
  {},
  { ISTHMUS_SANDBOX: '/srv/fleet/' },
  { ISTHMUS_SANDBOX_OCTET: '171', ISTHMUS_SANDBOX_CENTRE_PORT: '7471', ISTHMUS_SANDBOX_SHOP_PORT: '8471' },
  { ISTHMUS_SANDBOX_OCTET: '250', ISTHMUS_SANDBOX_CENTRE_PORT: '65535' },
]

test('a smoke test shares no directory and no address with the sandbox beside it', () => {
  for (const env of environments) {
    const [own, smoke] = [planSandbox('/clone', env), planSandbox('/clone', smokeEnvironment(env))]
    const addresses = [own, smoke].map(({ dir, runDir, centre, shop, clusters }) =>
      [dir, runDir, centre.port, shop.port, ...clusters.map((one) => one.octet)].map(String),
    )
    expect(addresses[0]?.filter((one) => addresses[1]?.includes(one))).toEqual([])
  }
})

test('a directory may be anywhere, or in the clone', () => {
  expect(planSandbox('/clone', {}).dir).toBe('/clone/.isthmus/sandbox')
  expect(planSandbox('/clone', { ISTHMUS_SANDBOX: '/srv/x y' }).dir).toBe('/srv/x y')
})

test.each([
  ['ISTHMUS_SANDBOX_CENTRE_PORT', 'http'],
  ['ISTHMUS_SANDBOX_SHOP_PORT', '70000'],
  ['ISTHMUS_SANDBOX_OCTET', '254'],
])('%s=%s is refused with its name', (variable, value) => {
  expect(() => planSandbox('/clone', { [variable]: value })).toThrow(`${variable}="${value}"`)
})
