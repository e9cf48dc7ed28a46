import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import { statusPort } from '#infra/local/plan.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

const ports = ['http'] as const

/** `cart` may be called from everywhere, `ledger` (another name of the same pod) from a cluster that is none. */
const fleet = useFleet({
  home: { pods: { 'web-1': { app: 'web', ports } } },
  away: {
    pods: { 'cart-1': { app: 'cart', ports } },
    services: { ledger: { app: 'cart', ports } },
    exports: { cart: '*', ledger: 'nowhere' },
  },
})
const usualMs = 60_000

beforeAll(() => {
  const { centre, dir } = fleet()
  const relays = { home: `http://${fleet().cluster('home').relayAddress}:${statusPort}` }
  const context = { url: `https://${centre.host}:${centre.port}`, caFile: centre.caFile, relays }
  mkdirSync(join(dir, 'cli/isthmus'), { recursive: true })
  writeFileSync(
    join(dir, 'cli/isthmus/config.yaml'),
    stringify({ current: 'f', contexts: { f: { ...context, keyFile: join(dir, 'centre/admin.key') } } }),
  )
})

type Ran = { readonly code: number; readonly out: string }

/** The command as it is typed, in a process of its own. */
const why = (host: string, ...more: readonly string[]): Promise<Ran> =>
  new Promise((resolve) => {
    const command = [join(root, 'cli/isthmus.js'), 'why', 'home/shop/web-1', host, ...more]
    const env = { PATH: process.env['PATH'], XDG_CONFIG_HOME: join(fleet().dir, 'cli') }
    execFile(process.execPath, command, { env, timeout: usualMs }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out: out + err }),
    )
  })

const explanationSchema = z.object({
  steps: z.array(z.object({ step: z.string(), ok: z.union([z.boolean(), z.literal('unknown')]) })),
})

/** Until the relay by itself says so of a step: the command is asked once the mesh has come to it. */
const untilSaid = (step: string, wanted: boolean | 'unknown') =>
  eventually(usualMs, `${step} is ${wanted} to the relay`, async () => {
    const asked = 'pod=shop/web-1&host=cart&port=8080'
    const answer = await fetch(`http://${fleet().cluster('home').relayAddress}:${statusPort}/explain?${asked}`)
    const { steps } = explanationSchema.parse(await answer.json())
    return steps.find((one) => one.step === step)?.ok === wanted
  })

test('a call that works: every step is in order, by what centre and relay know together', async () => {
  await untilSaid('gateway', true)
  await untilSaid('proxy', true)
  await eventually(usualMs, 'the centre has heard of both issuing CAs', async () => {
    const asked = { caller: 'home/shop/web-1', host: 'cart', port: 8080 }
    const said = explanationSchema.parse(await fleet().centre.call('POST', '/v1/explanations', asked))
    return said.steps.find(({ step }) => step === 'certificate')?.ok === true
  })
  // Something may just be on its way to the proxy, which then is not known to have it.
  const { code, steps, centre, relay } = await eventually(usualMs, 'all is in order', async () => {
    const ran = await why('cart:8080', '-o', 'json')
    const said = bothSchema.parse(JSON.parse(ran.out))
    const other = said.steps.filter(({ ok }) => ok !== true)
    if (other.length > 0) throw new Error(JSON.stringify(other))
    return { ...said, code: ran.code }
  })
  expect([code, steps.length]).toEqual([0, 11])
  expect([centre.lands, relay.lands]).toEqual([[{ cluster: 'away', share: 1 }], [{ cluster: 'away', share: 1 }]])
})

test('an export that is not for this cluster, with what lets it in', async () => {
  const { code, out } = await why('ledger:8080')
  expect(out).toContain('First to mend: consumer, says the centre')
  expect([code, out]).toEqual([1, expect.stringContaining('add home to isthmus.dev/consumers of the ServiceExport')])
})

test('a pod that is not ready', async () => {
  const cart = fleet().cluster('away').pod('cart-1')
  cart.probed(false)
  await untilSaid('health', false)
  const { code, out } = await why('cart:8080')
  cart.probed(true)
  expect([code, out]).toEqual([1, expect.stringContaining('First to mend: health')])
  expect(out).toContain('0 of 1 pods of shop/cart are ready in away')
})

test('without the centre the relay explains what it knows, and says that it is the only one', async () => {
  await untilSaid('health', true)
  await fleet().centre.kill()
  const { code, out } = await why('cart:8080')
  expect([code, out]).toEqual([0, expect.stringContaining('Of the centre nothing is known: the centre does not')])
  expect(out).toMatch(/\ncertificate +not known +relay/)
})

test('a caller whose proxy is gone', async () => {
  await fleet().cluster('home').pod('web-1').down()
  await untilSaid('proxy', false)
  const { code, out } = await why('cart:8080')
  expect([code, out]).toEqual([1, expect.stringContaining('First to mend: proxy, says the relay')])
  expect(out).toContain('the proxy of shop/web-1 is not connected to its relay')
})

const sideSchema = explanationSchema.extend({ lands: z.array(z.object({ cluster: z.string(), share: z.number() })) })
const bothSchema = explanationSchema.extend({ centre: sideSchema, relay: sideSchema })
