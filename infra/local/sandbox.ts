import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CentreApi, caFileOf, centreApi, centreUrl, keyFileOf } from './centre.ts'
import { writeAddresses, writeFrontDoor } from './front-door.ts'
import { answers } from './kubelet.ts'
import { type Member, member } from './member.ts'
import type { SandboxPlan } from './plan.ts'
import { type Program, startProgram, tailOf } from './program.ts'

export type SandboxParts = {
  readonly root: string
  readonly plan: SandboxPlan
  readonly envoy: string
  readonly say: (line: string) => void
}

/** The running sandbox: a centre, three members and the front door. */
export type Sandbox = {
  readonly members: readonly Member[]
  readonly api: () => CentreApi
  startCentre(): Promise<void>
  killCentre(): Promise<void>
  startMember(name: string): Promise<void>
  startFrontDoor(): Promise<void>
  /** Waits until every pod and gateway of the member is ready and its relay has heard the centre. */
  memberReady(name: string, timeoutMs: number): Promise<void>
  programs(): readonly Program[]
  stop(): Promise<void>
}

export function openSandbox({ root, plan, envoy, say }: SandboxParts): Sandbox {
  const node = process.execPath
  const logDir = join(plan.dir, 'logs')
  // Unix sockets allow 107 bytes: whatever the length of the clone's path, theirs is short.
  const runDir = join(tmpdir(), `isthmus-${createHash('sha256').update(plan.dir).digest('hex').slice(0, 8)}`)
  mkdirSync(logDir, { recursive: true })
  rmSync(runDir, { recursive: true, force: true })
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  let centre: Program | undefined
  let frontDoor: Program | undefined
  let addressing: NodeJS.Timeout | undefined
  let line: CentreApi | undefined
  const members = plan.clusters.map((cluster) =>
    member(cluster, {
      caFile: caFileOf(plan),
      runDir,
      logDir,
      relayCommand: [node, join(root, 'dist/relay.js')],
      proxyCommand: [node, join(root, 'dist/proxy.js')],
      appCommand: [node, join(root, 'infra/local/bookinfo/main.ts')],
      envoy,
      say,
    }),
  )
  const api = () => {
    line ??= centreApi(plan)
    return line
  }

  return {
    members,
    api,
    programs: () => [
      ...(centre ? [centre] : []),
      ...members.flatMap((one) => one.programs()),
      ...(frontDoor ? [frontDoor] : []),
    ],
    startCentre: async () => {
      const log = join(logDir, 'centre.log')
      let ended: string | undefined
      centre = startProgram({
        name: 'centre',
        command: [
          ...[node, join(root, 'dist/centre.js'), '--listen', `${plan.centre.host}:${plan.centre.port}`],
          ...['--url', centreUrl(plan), '--data', plan.centre.dir, '--key-file', keyFileOf(plan)],
        ],
        log,
        restart: false,
        onExit: (what) => {
          ended = what
        },
      })
      await until(60_000, 'the centre does not answer', async () => {
        if (ended) throw new Error(`the centre ended (${ended}):\n${tailOf(log)}`)
        if (!existsSync(caFileOf(plan))) return false
        return (
          (
            await api()
              .call('GET', '/readyz')
              .catch(() => ({ status: 0 }))
          ).status === 200
        )
      })
    },
    killCentre: async () => {
      await centre?.kill()
      centre = undefined
    },
    startMember: (name) => find(name).start(api),
    startFrontDoor: async () => {
      const dir = join(runDir, 'front')
      const config = writeFrontDoor(dir, plan.shop)
      let known = ''
      addressing = setInterval(() => {
        const addresses = members.flatMap((one) => one.shopAddresses())
        if (addresses.join() === known) return
        known = addresses.join()
        writeAddresses(dir, addresses)
      }, 200)
      frontDoor = startProgram({
        name: 'front door',
        command: [envoy, '-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning'],
        log: join(logDir, 'front-door.log'),
        restart: true,
      })
      await until(20_000, 'the front door does not answer', () => answers(plan.shop.host, plan.shop.port, '/health'))
    },
    memberReady: (name, timeoutMs) =>
      until(timeoutMs, `cluster ${name} is not ready`, () => {
        const { ready, wanted } = find(name).readiness()
        return Promise.resolve(wanted > 1 && ready === wanted)
      }),
    stop: async () => {
      line?.close()
      if (addressing) clearInterval(addressing)
      await frontDoor?.stop(2000)
      await Promise.all(members.map((one) => one.stop()))
      await centre?.stop(5000)
      rmSync(runDir, { recursive: true, force: true })
    },
  }

  function find(name: string): Member {
    const found = members.find((one) => one.plan.name === name)
    if (!found)
      throw new Error(`there is no cluster "${name}"; the sandbox has ${plan.clusters.map((c) => c.name).join(', ')}`)
    return found
  }
}

/** Asks every 50 ms until it holds; throws after `timeoutMs` what did not. */
export async function until(timeoutMs: number, what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`${what} (waited ${Math.round(timeoutMs / 1000)} s)`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
