import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { answers } from './answers.ts'
import { type CentreApi, caFileOf, centreApi, centreUrl, joinTokenFor, keyFileOf } from './centre.ts'
import { writeAddresses, writeFrontDoor } from './front-door.ts'
import { endLeftBehind, signalTo } from './left-behind.ts'
import { tailOf } from './log-file.ts'
import { type Member, member } from './member.ts'
import type { ClusterPlan, SandboxPlan } from './plan.ts'
import { type Program, startProgram } from './program.ts'
import { until } from './until.ts'

export type SandboxParts = {
  readonly root: string
  readonly plan: SandboxPlan
  readonly envoy: string
  readonly say: (line: string) => void
}

/** The running sandbox: a centre, its members and the front door. After `stop` or `kill` nothing starts any more. */
export type Sandbox = {
  readonly members: readonly Member[]
  /** Starts the centre where it does not run, and waits until it answers. Throws the end of its log where it ends. */
  startCentre(): Promise<void>
  killCentre(): Promise<void>
  /** SIGSTOP: who calls it waits for an answer that does not come. */
  pauseCentre(): void
  centreState(): 'alive' | 'starting' | 'dead' | 'paused'
  startMember(name: string): Promise<void>
  /** Starts one more cluster, which joins with that token. Throws why it did not; then nothing of it is left. */
  addMember(cluster: ClusterPlan, token: string): Promise<void>
  /** The operator's line to the centre. */
  api(): CentreApi
  /** Starts the front door; it answers once a productpage does. */
  startFrontDoor(): void
  frontDoorOpen(): Promise<void>
  /** Waits until every pod and gateway of the member is ready. Throws which are not, and the end of the first one's log. */
  memberReady(name: string, timeoutMs: number): Promise<void>
  stop(): Promise<void>
  /** SIGKILL of everything; for a user who asks twice. */
  kill(): Promise<void>
}

/** Where the front door finds the state of the fleet. */
export const stateSocket = (plan: SandboxPlan): string => join(plan.runDir, 'state.sock')

const centreMs = 120_000
const frontDoorMs = 20_000
const addressingMs = 200

export function openSandbox({ root, plan, envoy, say }: SandboxParts): Sandbox {
  const { runDir } = plan
  const node = process.execPath
  const logDir = join(plan.dir, 'logs')
  mkdirSync(logDir, { recursive: true })
  rmSync(runDir, { recursive: true, force: true })
  // Not recursive: a directory that somebody else put there in between is no place for keys and tokens.
  mkdirSync(runDir, { mode: 0o700 })
  const ending = new AbortController()
  const { signal } = ending
  const atWork = new Set<Promise<unknown>>()
  let centre: Program | undefined
  let centreReady = false
  let centrePaused = false
  let frontDoor: Program | undefined
  let addressing: NodeJS.Timeout | undefined
  let line: CentreApi | undefined
  const memberOf = (cluster: ClusterPlan): Member =>
    member(cluster, {
      centre: `${plan.centre.host}:${plan.centre.port}`,
      runDir: join(runDir, cluster.name),
      logDir: join(logDir, cluster.name),
      relayCommand: [
        node,
        '--import',
        pathToFileURL(join(root, 'infra/local/cut-line.js')).href,
        join(root, 'dist/relay.js'),
      ],
      proxyCommand: [node, join(root, 'dist/proxy.js')],
      appCommand: [node, join(root, 'infra/local/bookinfo/main.ts')],
      ...{ envoy, say, signal },
    })
  const members = plan.clusters.map(memberOf)
  const api = () => {
    line ??= centreApi(plan)
    return line
  }

  return {
    members,
    centreState: () => {
      if (centre === undefined) return 'dead'
      if (centrePaused) return 'paused'
      return centreReady ? 'alive' : 'starting'
    },
    api,
    startCentre: () => {
      if (centrePaused) signalCentre('SIGCONT')
      centrePaused = false
      return tracked(startCentre())
    },
    pauseCentre: () => {
      centrePaused = centre !== undefined
      signalCentre('SIGSTOP')
    },
    killCentre: async () => {
      const killed = centre
      centre = undefined
      centrePaused = false
      await killed?.kill()
    },
    startMember: (name) => {
      const one = find(name)
      return tracked(one.start(() => joinTokenFor(api(), one.plan)))
    },
    addMember: (cluster, token) => tracked(addMember(cluster, token)),
    startFrontDoor,
    frontDoorOpen: () => {
      const open = () => answers(plan.shop.host, plan.shop.port, '/health')
      const log = join(logDir, 'front-door.log')
      return until(frontDoorMs, 'no productpage answers at the front door', open, signal).catch((error: Error) => {
        throw new Error(`${error.message}; the end of ${log}:\n${tailOf(log)}`, { cause: error })
      })
    },
    memberReady: async (name, timeoutMs) => {
      const one = find(name)
      const ready = () => Promise.resolve(one.missing().length === 0)
      await until(timeoutMs, `cluster ${name} is not ready`, ready, signal).catch((cause: Error) => {
        if (signal.aborted) throw cause
        const [first, ...others] = one.missing()
        const names = [first, ...others].map((missing) => missing?.name).join(', ')
        const tail = first?.log ? `; the end of ${first.log}:\n${tailOf(first.log)}` : ''
        throw new Error(`${cause.message}: ${names}${tail}`, { cause })
      })
    },
    stop: () =>
      end(async () => {
        if (centrePaused) signalCentre('SIGCONT')
        await Promise.all([frontDoor?.stop(2000), ...members.map((one) => one.stop())])
        await centre?.stop(5000)
      }),
    kill: () => end(() => Promise.all([centre?.kill(), frontDoor?.kill(), ...members.map((one) => one.kill())])),
  }

  /** What is under way when the end comes is waited for, so that nothing appears behind it. */
  function tracked<T>(work: Promise<T>): Promise<T> {
    atWork.add(work)
    const done = () => void atWork.delete(work)
    work.then(done, done)
    return work
  }

  async function end(work: () => Promise<unknown>): Promise<void> {
    ending.abort()
    clearInterval(addressing)
    line?.close()
    await Promise.allSettled([...atWork])
    await work()
    await endLeftBehind(runDir)
    rmSync(runDir, { recursive: true, force: true })
  }

  function signalCentre(how: NodeJS.Signals): void {
    const pid = centre?.pid()
    if (pid !== undefined) signalTo(pid, how)
  }

  async function addMember(cluster: ClusterPlan, token: string): Promise<void> {
    const added = memberOf(cluster)
    try {
      await added.start(() => Promise.resolve(token))
      members.push(added)
    } catch (error) {
      await added.kill()
      rmSync(cluster.dir, { recursive: true, force: true })
      throw error
    }
  }

  async function startCentre(): Promise<void> {
    if (centre) return
    const log = join(logDir, 'centre.log')
    centreReady = false
    let ready = false
    let ended: string | undefined
    const { host, port, dir } = plan.centre
    const started = startProgram({
      ...{ name: 'centre', runDir, log, signal },
      command: [
        ...[node, join(root, 'dist/centre.js'), '--listen', `${host}:${port}`],
        ...['--url', centreUrl(plan), '--data', dir, '--key-file', keyFileOf(plan)],
      ],
      onExit: (what) => {
        ended = what
        if (ready) say(`  the centre ended (${what}) and is started again; see ${log}`)
      },
    })
    centre = started
    try {
      await until(
        centreMs,
        'the centre does not answer',
        async () => {
          if (ended !== undefined) throw new Error(`the centre ended (${ended})`)
          return existsSync(caFileOf(plan)) && (await isReady())
        },
        signal,
      )
      ready = true
      centreReady = true
      // The next call reads the key of the first administrator, which a first start has just written.
      line?.close()
      line = undefined
    } catch (error) {
      centre = undefined
      await started.kill()
      if (signal.aborted) throw error
      throw new Error(`${(error as Error).message}; the end of ${log}:\n${tailOf(log)}`, { cause: error })
    }
  }

  async function isReady(): Promise<boolean> {
    try {
      return (await api().call('GET', '/readyz')).status === 200
    } catch {
      // The CA's file may be one of an earlier life: read it again next time.
      line?.close()
      line = undefined
      return false
    }
  }

  function startFrontDoor(): void {
    const dir = join(runDir, 'front')
    const config = writeFrontDoor(dir, plan.shop, stateSocket(plan))
    let known = ''
    addressing = setInterval(() => {
      const addresses = members.flatMap((one) => one.shopAddresses())
      if (addresses.join() === known) return
      try {
        writeAddresses(dir, addresses)
        known = addresses.join()
      } catch {
        // The disk is full, perhaps: tried again.
      }
    }, addressingMs)
    frontDoor = startProgram({
      ...{ name: 'front door', runDir, signal },
      command: [envoy, '-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning'],
      log: join(logDir, 'front-door.log'),
    })
  }

  function find(name: string): Member {
    const found = members.find((one) => one.plan.name === name)
    if (found) return found
    throw new Error(`there is no cluster "${name}"; the sandbox has ${members.map((one) => one.plan.name).join(', ')}`)
  }
}
