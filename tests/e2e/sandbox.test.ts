import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { get as getTls } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { answers } from '#infra/local/answers.ts'
import { endLeftBehind, processesOf } from '#infra/local/left-behind.ts'
import { visit } from '#infra/local/shopper.ts'
import { envoyPath, programPath, root } from '#tests/support/parts.ts'
import { readSteps } from '#tests/support/readme-steps.ts'
import { eventually } from '#tests/support/until.ts'

// `npm start` without npm: the real supervisor, on addresses and in a directory of its own (with a space in its name).

const [octet, centrePort, shopPort] = [151, 7451, 8451]
const home = mkdtempSync(join(tmpdir(), 'isthmus sandbox '))
const dir = join(home, 'fleet one')
const runDir = join(tmpdir(), `isthmus-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`)
const manifests = (cluster: string) => join(dir, 'clusters', cluster, 'manifests')
const startMs = 100_000
let env: NodeJS.ProcessEnv
const supervisors: ChildProcess[] = []

beforeAll(async () => {
  await programPath('centre')
  env = {
    ...{ PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: join(home, 'config') },
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    ...{ ISTHMUS_ENVOY: await envoyPath(), ISTHMUS_SANDBOX: dir, ISTHMUS_SANDBOX_OCTET: String(octet) },
    ...{ ISTHMUS_SANDBOX_CENTRE_PORT: String(centrePort), ISTHMUS_SANDBOX_SHOP_PORT: String(shopPort) },
  }
})

afterAll(async () => {
  for (const one of supervisors) one.kill('SIGKILL')
  await endLeftBehind(runDir)
  for (const path of [runDir, home]) rmSync(path, { recursive: true, force: true })
})

/** A supervisor, what it has said, and its exit code. */
function start(more: NodeJS.ProcessEnv = {}, ...args: string[]) {
  const child = spawn(process.execPath, ['infra/local/main.ts', ...args], { cwd: root, env: { ...env, ...more } })
  supervisors.push(child)
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += part.toString()))
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const ready = async () => {
    const over = () => said.includes('Ready.') || child.exitCode !== null
    await eventually(startMs, 'the sandbox is ready', over).catch((error: Error) => {
      throw new Error(`${error.message}: ${said}`)
    })
    expect(said).toContain('Ready.')
  }
  return { child, exit, ready, said: () => said }
}

const cli = async (...args: string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, ['cli/isthmus.js', ...args], { cwd: root, env })).stdout

const idsOf = async () =>
  (JSON.parse(await cli('get', 'clusters', '-o', 'json')) as { name: string; id: string }[]).map((one) => [
    one.name,
    one.id,
  ])

/** What the n-th pod of virginia-1 hears when its application calls a host by name; the second is productpage. */
function callFrom(pod: number, host: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: `127.${octet}.${pod}.3`, port: 9080, path, headers: { host }, agent: false, timeout: 5000 }
    get(options, (answer) => {
      let text = ''
      answer.on('data', (part: Buffer) => (text += part.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    }).on('error', reject)
  })
}

/** What a server says before it is asked; empty where nobody speaks. */
const firstBytes = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 })
    const end = (text: string) => {
      socket.destroy()
      resolve(text)
    }
    socket.on('data', (part: Buffer) => end(part.toString()))
    for (const event of ['error', 'timeout', 'close'] as const) socket.on(event, () => end(''))
  })

/** The answer of an HTTPS server that nobody vouches for; empty where there is none. */
const overOwnTls = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const options = { host, port, path: '/world', rejectUnauthorized: false, agent: false, timeout: 2000 }
    const request = getTls(options, (answer) => {
      let text = ''
      answer.on('data', (part: Buffer) => (text += part.toString()))
      answer.on('close', () => resolve(text))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(''))
  })

const listens = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port }, () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

test('a taken port is told with its owner and the variable that moves us, and nothing is left', async () => {
  const taker = spawn(process.execPath, ['-e', `require('net').createServer().listen(${shopPort}, '127.0.0.1')`])
  try {
    await eventually(10_000, 'the port is taken', () => listens('127.0.0.1', shopPort))
    const { exit, said } = start()
    expect(await exit).toBe(1)
    expect(said()).toContain(`127.0.0.1:${shopPort}, wanted for the front door, is taken by node -e`)
    expect(said()).toContain(`(pid ${taker.pid}): stop it, or set ISTHMUS_SANDBOX_SHOP_PORT to another value`)
    expect(existsSync(join(dir, 'running.json'))).toBe(false)
  } finally {
    taker.kill()
  }
})

test('help is an answer, and an unknown option one line', async () => {
  const [help, unknown] = [start({}, '--help'), start({}, '--frobnicate')]
  expect(await help.exit).toBe(0)
  for (const part of ['--fresh', '--smoke', 'ISTHMUS_SANDBOX_OCTET', 'Keys', 'Exit codes'])
    expect(help.said()).toContain(part)
  expect(await unknown.exit).toBe(2)
  expect(unknown.said()).toMatch(/^✘ Unknown option '--frobnicate': .*npm start -- --help\)\n$/)
})

test('a directory that cannot be made, or is somebody’s own, is one sentence', async () => {
  writeFileSync(join(home, 'file'), '')
  const within = start({ ISTHMUS_SANDBOX: join(home, 'file/x') })
  expect(await within.exit).toBe(1)
  expect(within.said().trim().split('\n')).toHaveLength(1)
  mkdirSync(join(home, 'photos/2024'), { recursive: true })
  const strange = start({ ISTHMUS_SANDBOX: join(home, 'photos') }, '--fresh')
  expect(await strange.exit).toBe(1)
  expect(strange.said()).toContain('is no sandbox (there is 2024)')
  expect(existsSync(join(home, 'photos/2024'))).toBe(true)
})

test('the end is clean while the start is under way', async () => {
  const { child, exit } = start()
  await eventually(20_000, 'the centre is being started', () => processesOf(runDir).length > 0)
  child.kill('SIGINT')
  expect(await exit).toBe(130)
  await expectNothingLeft()
})

test('a fleet: started, crossed, edited, killed, resumed, ended', { timeout: 300_000 }, async () => {
  const first = start()
  await first.ready()

  const view = await visit('127.0.0.1', shopPort)
  expect(view).toMatchObject({ ok: true })
  expect(new Set(view.clusters).size).toBeGreaterThan(1)
  expect(await answers('127.0.0.1', shopPort, '/productpage')).toBe(true)

  const second = start()
  expect(await second.exit).toBe(0)
  expect(second.said()).toContain(`http://127.0.0.1:${shopPort}`)
  await expectOthersStayAway()

  expect(await cli('status')).toMatch(/ireland-1.+serving.+connected/)
  expect(await cli('get', 'imports', '--service', 'reviews')).toMatch(/virginia-1 .*virginia-2 \(1\) > ireland-1 \(2\)/)
  await expectPolicyToHold()
  const ids = await idsOf()
  expect(ids).toHaveLength(3)

  await expectPodsFollowTheirYaml()
  await expectDeadProgramsComeBack()

  // As when the machine's owner is in a hurry: everything it started stays behind.
  first.child.kill('SIGKILL')
  await first.exit
  expect(processesOf(runDir).length).toBeGreaterThan(10)
  const third = start()
  await third.ready()
  expect(third.said()).toMatch(/\d+ programs of a sandbox that was killed/)
  expect(await idsOf()).toEqual(ids)

  third.child.kill('SIGINT')
  expect(await third.exit).toBe(0)
  await expectNothingLeft()
})

/** Another directory on the same addresses, and the same one with its claim deleted: one line each, and nothing is touched. */
async function expectOthersStayAway(): Promise<void> {
  const before = processesOf(runDir)
  const beside = start({ ISTHMUS_SANDBOX: join(home, 'fleet two') }, '--fresh')
  expect(await beside.exit).toBe(1)
  expect(beside.said()).toMatch(/^✘ a sandbox runs already on these addresses \(pid \d+; .*ISTHMUS_SANDBOX_OCTET.*\n$/)
  const claim = readFileSync(join(dir, 'running.json'))
  rmSync(join(dir, 'running.json'))
  const thief = start({}, '--fresh')
  expect(await thief.exit).toBe(1)
  expect(thief.said()).toMatch(/^✘ The sandbox runs already \(pid \d+; its .*running\.json was deleted\)/)
  expect(processesOf(runDir)).toEqual(expect.arrayContaining(before))
  writeFileSync(join(dir, 'running.json'), claim)
}

/** The README's commands about policies as they stand there, in their order; nobody waits for the drain's end. */
async function expectPolicyToHold(): Promise<void> {
  const commands =
    readSteps('More to try')
      .find(({ title }) => title === 'Say where calls go')
      ?.blocks.flat() ?? []
  const typed = new Map<string, string>()
  for (const command of commands) {
    const [, verb = '', more = ''] = /^npx --no -- isthmus (\w+)(.*)$/.exec(command) ?? []
    if (verb === 'delete') await governed(/ ireland-1 ×30 .*\+ virginia-2 ×70 /)
    const words = [verb, ...more.trim().split(/\s+/), ...(verb.endsWith('drain') ? ['--no-follow'] : [])]
    // A drain is refused for as long as those that are left have no ready pod.
    typed.set(verb, await eventually(20_000, command, () => cli(...words)))
  }
  expect([...typed.keys()]).toEqual(['plan', 'apply', 'traffic', 'drain', 'undrain', 'history', 'delete'])
  expect(typed.get('plan')).toMatch(/ virginia-1, virginia-2 .* ireland-1 \d+ %, virginia-2 \d+ % /)
  expect(typed.get('apply')).toContain('GlobalTrafficPolicy bookinfo/reviews created')
  expect(typed.get('traffic')).toMatch(/^CALLER +SERVICE +CALLEE +INTENDED +MEASURED /)
  expect(typed.get('drain')).toMatch(/^(warning: .*\n)*cluster virginia-2 +ramping +100 % /)
  expect(typed.get('undrain')).toMatch(/^cluster virginia-2 /)
  expect(typed.get('history')).toMatch(/ gtp\/bookinfo\/reviews@1 +written /)
  await governed(/ virginia-2 \(\d.* > ireland-1 /)

  async function governed(order: RegExp): Promise<void> {
    await eventually(20_000, `virginia-1 has ${order}`, async () =>
      (await cli('get', 'imports', '--service', 'reviews'))
        .split('\n')
        .some((line) => / virginia-1 /.test(line) && order.test(line)),
    )
  }
}

async function expectPodsFollowTheirYaml(): Promise<void> {
  const own = join(manifests('virginia-1'), 'pods/details-v1.yaml')
  const text = readFileSync(own, 'utf8')
  const detailsOf = async () =>
    JSON.parse((await callFrom(2, 'details:9080', '/details/0')).text) as {
      served: { cluster: string; version: string }
    }
  expect((await detailsOf()).served).toMatchObject({ cluster: 'virginia-1', version: 'v1' })

  // What does not parse changes nothing; the relay names the line.
  writeFileSync(own, `${text}\n{ not: yaml`)
  await eventually(20_000, 'the relay sets the file aside', async () =>
    (await cli('status')).includes('details-v1.yaml'),
  )
  expect((await detailsOf()).served).toMatchObject({ cluster: 'virginia-1', version: 'v1' })

  writeFileSync(own, text.replaceAll(/(version: )v1/g, '$1v9'))
  await eventually(30_000, 'an edited pod is started anew', async () => (await detailsOf()).served.version === 'v9')

  rmSync(own)
  await eventually(30_000, 'without a pod of its own the cluster asks another', async () => {
    return (await detailsOf()).served.cluster === 'virginia-2'
  })

  for (const example of ['hello.yaml', 'streams.yaml'])
    copyFileSync(join(root, 'docs/examples', example), join(manifests('ireland-1'), example))
  await eventually(30_000, 'a new service of another cluster answers', async () => {
    const { status, text: said } = await callFrom(2, 'hello.bookinfo.svc.cluster.local:9080', '/world')
    return status === 200 && said.includes('"cluster":"ireland-1"') && said.includes('sa/bookinfo-productpage')
  })
  const streams = `127.${octet}.2.4`
  await eventually(30_000, 'a TCP service of another cluster speaks first', async () =>
    (await firstBytes(streams, 9000)).includes('{"protocol":"TCP","served":{"cluster":"ireland-1"'),
  )
  await eventually(30_000, 'TLS of the application’s own goes through', async () =>
    (await overOwnTls(streams, 9443)).includes('{"protocol":"TLS","path":"/world","served":{"cluster":"ireland-1"'),
  )
}

async function expectDeadProgramsComeBack(): Promise<void> {
  const shop = (pid: number) => environmentOf(pid).includes('APP=productpage\0')
  const before = processesOf(runDir).filter(shop)
  expect(before).toHaveLength(3)
  for (const pid of before) process.kill(pid, 'SIGKILL')
  await eventually(30_000, 'three other productpages run, and the page is whole', async () => {
    const now = processesOf(runDir).filter(shop)
    return now.length === 3 && !now.some((pid) => before.includes(pid)) && (await visit('127.0.0.1', shopPort)).ok
  })
}

async function expectNothingLeft(): Promise<void> {
  expect(processesOf(runDir)).toEqual([])
  expect(existsSync(runDir)).toBe(false)
  expect(existsSync(join(dir, 'running.json'))).toBe(false)
  for (const port of [centrePort, shopPort]) expect(await listens('127.0.0.1', port)).toBe(false)
  for (const address of [0, 1, 2].flatMap((n) => [`127.${octet + n}.0.1:15012`, `127.${octet + n}.0.2:15443`])) {
    const [host = '', port] = address.split(':')
    expect(await listens(host, Number(port)), address).toBe(false)
  }
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}
