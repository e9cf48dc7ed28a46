import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkItem } from '#control/report-item.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

/** One cluster says odd things; what the others are told goes on all the same. */
let centre: TestCentre
let odd: TestRelay
let west: TestRelay
beforeAll(async () => {
  centre = await openTestCentre()
  odd = await new TestRelay(centre, 'odd').join()
  west = await new TestRelay(centre, 'west').join()
  await odd.sync({ cluster: facts('net-odd'), gateways }, { complete: true })
  await west.sync({ cluster: facts('net-west'), gateways }, { complete: true })
  await centre.settle()
})
afterAll(() => centre.close())

let count = 0
/** A change at the other cluster is published, and both read their configs. */
async function goesOn(): Promise<void> {
  const key = `shop/after-${++count}`
  await west.sync({ [`export/${key}`]: exported(), [`summary/${key}`]: summary(1) })
  await centre.settle()
  await Promise.all([odd.pull(), west.pull()])
  for (const relay of [odd, west]) {
    const items = [...(relay.held.get(`cfg/${relay.name}`)?.items ?? [])]
    const { imports } = parseClusterConfig(new Map(items.map(([k, v]) => [k, JSON.parse(v)])))
    expect([...imports.keys()]).toContain(key)
  }
  await west.sync({ [`export/${key}`]: undefined, [`summary/${key}`]: undefined })
}

test('a consumer that is no cluster name: its exporter is told, and publishing goes on for all', async () => {
  await odd.sync({
    'export/shop/web': exported({ consumers: ['west', 'group/prod', 'No Name'] }),
    'summary/shop/web': summary(1),
  })
  await goesOn()
  expect(odd.held.get('cfg/odd')?.items.get('conditions')).toMatch(/UnknownConsumer.*group\/prod|group\/prod.*Unknown/)
  expect(west.text()).toContain('import/shop/web')
  const listed = await centre.admin('GET', '/v1/service-exports')
  expect(JSON.stringify(listed.body)).toContain('group/prod')
})

test('whatever item is accepted compiles and is published', async () => {
  const text = fc.string({ minLength: 1, maxLength: 63 })
  const label = fc.stringMatching(/^[-a-zA-Z0-9./]{1,6}$/)
  const value = fc.record({
    ports: fc.array(
      fc.record({
        name: fc.string({ maxLength: 63 }),
        port: fc.integer({ min: 0, max: 65_536 }),
        protocol: fc.constantFrom('http', 'tcp', 'x'),
        declared: fc.boolean(),
      }),
      { maxLength: 3 },
    ),
    serviceAccounts: fc.array(fc.string({ minLength: 1, maxLength: 253 }), { maxLength: 3 }),
    consumers: fc.array(text, { maxLength: 5 }),
    createdAt: fc.integer(),
    headless: fc.boolean(),
  })
  const anyItem = fc
    .tuple(fc.constantFrom('export', 'refuse', 'summary'), label, label, value)
    .map(([kind, namespace, name, body]) => [`${kind}/${namespace}/${name}`, body as Json] as const)
  const nearly = fc
    .constantFrom('export/shop/web-', 'export/shop-/web', 'refuse/shop/-x', 'export/shop/odd')
    .map((key) => [key, exported({ consumers: ['*', 'west-'] })] as const)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(anyItem, nearly), { minLength: 1, maxLength: 30 }), async (list) => {
      const said = Object.fromEntries(list)
      const taken = Object.entries(said).filter(([k, v]) => checkItem(k, v as Record<string, unknown>, 'e').item)
      fc.pre(taken.length > 0)
      expect((await odd.sync(said)).status).toBe(200)
      await goesOn()
      await odd.sync(Object.fromEntries(Object.keys(said).map((key) => [key, undefined])))
    }),
    { numRuns: 15 },
  )
})
