import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FleetState, RequestSeen } from '#infra/local/fleet-state.ts'
import { endLeftBehind, processesOf } from '#infra/local/left-behind.ts'
import { cacheDir } from '#infra/setup/envoy.js'
import { openChromium, watchManners } from '#tests/support/chromium.ts'
import { envoyPath, root } from '#tests/support/parts.ts'
import { readSteps } from '#tests/support/readme-steps.ts'
import { eventually } from '#tests/support/until.ts'

// The README's tour, typed as it stands there into a shell, and its page in a real Chromium. Only addresses are others:
// the variables move them, and a directory that looks like the clone makes the README's paths true.

const [octet, centrePort, shopPort] = [161, 7461, 8461]
const shop = `127.0.0.1:${shopPort}`
const home = realpathSync(mkdtempSync(join(tmpdir(), 'isthmus-tour-')))
const dir = join(home, '.isthmus/sandbox')
const runDir = join(tmpdir(), `isthmus-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`)
const pictures = join(root, 'test-output/tour')
const stepMs = 30_000
const tour = readSteps('The tour')

let env: NodeJS.ProcessEnv
let browser: Browser
let page: Page
let bad: string[] = []
let sandbox: Terminal | undefined
let picture = 0

beforeAll(async () => {
  for (const name of ['docs', 'infra', 'node_modules', 'package.json', 'cli'])
    symlinkSync(join(root, name), join(home, name))
  rmSync(pictures, { recursive: true, force: true })
  mkdirSync(pictures, { recursive: true })
  env = {
    ...{ PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: join(home, 'config'), TERM: 'xterm' },
    ...{ XDG_CACHE_HOME: join(cacheDir(), '..'), ENVOY: await envoyPath(), ISTHMUS_SANDBOX: dir },
    ...{ ISTHMUS_SANDBOX_OCTET: String(octet), ISTHMUS_SANDBOX_CENTRE_PORT: String(centrePort) },
    ISTHMUS_SANDBOX_SHOP_PORT: String(shopPort),
  }
  browser = await openChromium()
  page = await browser.newPage({ viewport: { width: 1120, height: 900 }, colorScheme: 'light' })
  bad = watchManners(page, shop)
}, 300_000)

afterAll(async () => {
  await browser?.close()
  sandbox?.child.kill('SIGKILL')
  await endLeftBehind(runDir)
  for (const path of [runDir, home]) rmSync(path, { recursive: true, force: true })
})

test('the README’s tour is true, step by step', { timeout: 480_000 }, async () => {
  expect(tour.map(({ title }) => title)).toEqual([
    ...['Start', 'Kill a cluster', 'Kill the centre', 'Take an export away', 'Make a mistake'],
    ...['Join a fourth cluster', 'Come back'],
  ])
  await started(commandOf('Start', 0))
  await killedCluster()
  await killedCentre()
  await withoutExport()
  await mistaken()
  await joined()
  await cameBack(commandOf('Come back', 0))
  await shown()
  expect(bad).toEqual([])
})

async function started(command: string): Promise<void> {
  sandbox = terminal(command)
  await ready(sandbox)
  await page.goto(`http://${shop}/productpage`)
  await see('three cards, all alive', async () => (await cards('alive')).length === 3)
  await see('dots', async () => Object.values(await dots(5)).reduce((sum, n) => sum + n, 0) > 50)
  await page.focus('.hop[data-key=reviews] summary')
  await page.keyboard.press('Enter')
  await see('the road', async () => (await page.locator('.hop[data-key=reviews] .road li').count()) >= 4)
  const answer = await text('.hop[data-key=reviews]')
  expect(answer).toMatch(/reviews v\d .*\d ms .*spiffe:\/\/[\w.-]+\/ns\/bookinfo\/sa\/bookinfo-productpage/)
  // The page is drawn anew all the time: what was opened stays open, and the keyboard stays where it is.
  await page.waitForTimeout(1500)
  expect(await page.locator('.hop[data-key=reviews] details[open] summary:focus').count()).toBe(1)
  await photograph('start')
  await page.keyboard.press('Enter')
}

async function killedCluster(): Promise<void> {
  expect((await dots(3))['k2']).toBeGreaterThan(0)
  const began = Date.now()
  let doneMs = 0
  const typed = type(commandOf('Kill a cluster', 0)).finally(() => (doneMs = Date.now() - began))
  await see('its card is grey', async () => (await cards('gone')).join() === 'ireland-1')
  const greyMs = Date.now() - began
  expect(await typed).toContain('ireland-1 is dead')
  await see('no dot of the last seconds has its colour', async () => ((await dots(2))['k2'] ?? 0) === 0)
  await see('a banner', async () => /reviews .*ireland-1.* → /.test(await text('#shifts')))
  expect(await text('#shifts')).toMatch(
    /\d\d:\d\d:\d\d reviews ireland-1 → virginia-2 0 of [1-9]\d* failed ireland-1 was killed/,
  )
  expect((await dots(60))['failures'] ?? 0).toBe(0)
  await page.waitForTimeout(2500)
  await photograph('kill-cluster')
  await type(commandOf('Kill a cluster', 1))
  await see('it is back', async () => (await cards('alive')).length === 3)
  await see('its dots too', async () => ((await dots(2))['k2'] ?? 0) > 0)
  await see('a banner of its return', async () => /→ ireland-1 0 of/.test(await text('#shifts')))
  await photograph('restore-cluster')
  process.stdout.write(`the card of ireland-1 was grey ${greyMs} ms after Enter; the command took ${doneMs} ms\n`)
}

async function killedCentre(): Promise<void> {
  await type(commandOf('Kill the centre', 0))
  await see('its badge is red', async () => /centre away \d+ s, serving revision \d+/.test(await text('#centre')))
  expect(await cards('gone')).toEqual([])
  const [remove = '', call = '', restore = '', ...more] = block('Kill the centre', 1)
  expect(more).toEqual([])
  expect(await type(call)).toMatch(/ireland-1 +v1 /)
  await type(remove)
  await see('the pod has left its proxies', async () => !/ v1 /.test(await type(call)))
  await photograph('kill-centre')
  expect(await text('#counted')).toContain(' 0 failed')
  await type(restore)
  await see('the badge is green', async () => /centre alive/.test(await text('#centre')))
}

async function withoutExport(): Promise<void> {
  const missing = /ratings is not exported to virginia-2 since \d\d:\d\d:\d\d/
  await type(commandOf('Take an export away', 0))
  await see('the page says so', async () => missing.test(await text('#shifts')))
  await see('and why calls moved', async () => /exports\/ratings\.yaml was removed in \w/.test(await text('#shifts')))
  await photograph('without-export')
  await type(commandOf('Take an export away', 1))
  await see('the page says it no more', async () => !missing.test(await text('#shifts')))
  await see('nothing fails any more', async () => ((await dots(2))['failures'] ?? 0) === 0)
  await see('stars of virginia-2', async () => (await page.locator('.stars.black').count()) > 0)
  await photograph('export-again')
}

async function mistaken(): Promise<void> {
  const [spoil = '', status = ''] = block('Make a mistake', 0)
  const failed = await text('#counted')
  await type(spoil)
  const named = /virginia-1 +ratings\.yaml:\d+ .*: \S+/
  await eventually(stepMs, 'status names file, line and reason', async () => {
    const said = await type(status)
    if (!named.test(said)) throw new Error(said)
    return true
  })
  await page.waitForTimeout(1000)
  expect((await text('#counted')).split(', ')[1]).toBe(failed.split(', ')[1])
  await photograph('mistake')
  await type(commandOf('Make a mistake', 1))
  await see('status names it no more', async () => !named.test(await type(status)))
}

async function joined(): Promise<void> {
  const said = await type(commandOf('Join a fourth cluster', 0))
  const next = said.split('\n').find((line) => line.includes('sandbox add tokyo-1'))
  expect(next, said).toBeDefined()
  await type(next?.trim() ?? '')
  await see('a fourth card', async () => (await cards('alive')).includes('tokyo-1'))
  await page.selectOption('#service', 'productpage')
  await see('page views of tokyo-1', async () => ((await dots(2))['k3'] ?? 0) > 0)
  await see('its calls of reviews', async () =>
    (await requests()).some(({ ok, clusterByService: by }) => ok && by['productpage'] === 'tokyo-1' && by['reviews']),
  )
  await photograph('fourth-cluster')
  await page.selectOption('#service', 'reviews')
}

async function cameBack(command: string): Promise<void> {
  const first = sandbox
  first?.child.stdin?.write('\u0003')
  expect(await first?.exit).toBe(0)
  expect(processesOf(runDir)).toEqual([])
  await see('the page shows that it is old', async () => (await page.locator('body.stale').count()) === 1)
  sandbox = terminal(command)
  await ready(sandbox)
  await see('the page goes on, without loading it again', async () => (await page.locator('body.stale').count()) === 0)
  await see('four cards', async () => (await cards('alive')).length === 4)
  await see('page views', async () => Object.keys(await dots(3)).length > 0)
  await photograph('come-back')
}

/** The page at night, and on a phone: nothing is wider than the screen. */
async function shown(): Promise<void> {
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.waitForTimeout(400)
  await photograph('dark')
  await page.setViewportSize({ width: 380, height: 800 })
  await page.waitForTimeout(400)
  expect(await page.evaluate(widerThanParent)).toEqual([])
  await photograph('narrow-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.waitForTimeout(400)
  await photograph('narrow')
}

/** What reaches out of its card or the screen. */
const widerThanParent = `[document.documentElement, ...document.querySelectorAll('.member, .member *, .minute, .shift, .hop')]
  .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0)
  .map((one) => one.className + ' ' + one.textContent.slice(0, 40))`

type Terminal = { readonly child: ChildProcess; readonly exit: Promise<number | null>; said(): string }

/** A command in a terminal: `python3` makes one, and what we write to it are keys. */
function terminal(command: string): Terminal {
  const inPty = 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'
  const child = spawn('python3', ['-c', inPty, 'bash', '-c', command], { cwd: home, env })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part.toString()))
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  return { child, exit, said: () => said }
}

async function ready({ child, said }: Terminal): Promise<void> {
  const over = () => said().includes('Ready.') || child.exitCode !== null
  await eventually(100_000, 'the sandbox is ready', over).catch((error: Error) => {
    throw new Error(`${error.message}: ${said()}`)
  })
  expect(said()).toContain('Ready.')
}

/** Types a command into a second terminal and waits for its end: all it said. Throws that where it failed. */
function type(command: string): Promise<string> {
  const child = spawn('bash', ['-c', command], { cwd: home, env })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part.toString()))
  return new Promise((resolve, reject) =>
    child.once('close', (code) =>
      code === 0 ? resolve(said) : reject(new Error(`${command}: ${said} (exit ${code})`)),
    ),
  )
}

const block = (title: string, n: number) => tour.find((one) => one.title === title)?.blocks[n] ?? []

/** The only command of a step's n-th code block. */
function commandOf(title: string, n: number): string {
  const [command = '', ...more] = block(title, n)
  expect(command, `block ${n} of "${title}"`).not.toBe('')
  expect(more).toEqual([])
  return command
}

const see = (what: string, condition: () => Promise<boolean>) =>
  eventually(stepMs, what, condition).catch(async (error: Error) => {
    await photograph('failed')
    throw new Error(`${error.message}; the page says: ${await text('body')}`, { cause: error })
  })

/** As a reader sees it, with spaces between cells. */
const text = async (selector: string): Promise<string> =>
  // biome-ignore lint/performance/useDomNodeTextContent: cells of one line have no space between them in the document
  (await page.innerText(selector)).replace(/\s+/g, ' ')

/** What the page is told of the last minute. */
async function requests(): Promise<readonly RequestSeen[]> {
  return ((await (await fetch(`http://${shop}/sandbox/state`)).json()) as FleetState).requests
}

/** Clusters whose card is in a state; `gone`: whose card is grey. */
async function cards(state: string): Promise<string[]> {
  const wanted = state === 'gone' ? '.member.gone' : `.member[data-state="${state}"]`
  return await page
    .locator(wanted)
    .evaluateAll((all) => all.map((one) => (one as unknown as { dataset: { key: string } }).dataset.key))
}

/** Pixels of each colour (`k0`…, `failures`) that the strip shows for the last seconds. */
async function dots(seconds: number): Promise<Record<string, number>> {
  return JSON.parse(await page.evaluate(`(${countDots})(${seconds})`)) as Record<string, number>
}

const countDots = `(seconds) => {
  const strip = document.getElementById('strip'), pen = strip.getContext('2d'), count = {}
  const column = strip.width / 60
  const from = Math.max(0, Math.floor(strip.width - (seconds + 1) * column))
  const { data } = pen.getImageData(from, 0, strip.width - from, strip.height)
  const classes = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'failures'].map((name) => {
    const probe = document.createElement('i')
    probe.className = 'probe ' + name
    document.body.append(probe)
    const rgb = getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).join()
    probe.remove()
    return [rgb, name]
  })
  const names = new Map(classes)
  for (let at = 0; at < data.length; at += 4) {
    const name = names.get(data[at] + ',' + data[at + 1] + ',' + data[at + 2])
    if (name && data[at + 3] === 255) count[name] = (count[name] ?? 0) + 1
  }
  return JSON.stringify(count)
}`

async function photograph(name: string): Promise<void> {
  const path = join(pictures, `${String(++picture).padStart(2, '0')}-${name}.png`)
  await page.screenshot({ path, fullPage: true })
}
