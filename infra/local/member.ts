import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Kubelet, type KubeletParts, startKubelet } from './kubelet.ts'
import { endLeftBehind, processesOf, signalTo } from './left-behind.ts'
import { tailOf } from './log-file.ts'
import type { PodObject } from './manifests.ts'
import { type ClusterPlan, podAddresses } from './plan.ts'
import { gatewayDir } from './pod-programs.ts'
import { type Program, startProgram } from './program.ts'
import { relayEnvironment } from './relay-environment.ts'
import { replaceFile } from './replace-file.ts'
import { seedCluster } from './seed.ts'
import { tokenIssuer } from './token-issuer.ts'
import { until } from './until.ts'

export type MemberParts = Omit<KubeletParts, 'cluster' | 'caFile' | 'issuer' | 'trustDomain' | 'mesh'> & {
  readonly relayCommand: readonly string[]
  /** `<host>:<port>` of the centre, for the relay's line to it. */
  readonly centre: string
}

/** What can be killed or paused by itself. */
export type MemberPart = 'cluster' | 'relay' | 'gateway'

/** One cluster of the sandbox: its relay and all its pods. */
export type Member = {
  readonly plan: ClusterPlan
  /** Whether it has joined in this or an earlier run: then it starts without the centre. */
  joined(): boolean
  running(): boolean
  /** From its start until everything in it has once been ready. */
  starting(): boolean
  /** Parts that were killed or paused and are not restored; `cut`: its relay's line to the centre is. */
  hurt(): { readonly dead: readonly MemberPart[]; readonly paused: readonly MemberPart[]; readonly cut: boolean }
  /**
   * Starts what is not running, lets go on what is paused, mends what is cut. `joinToken` is asked for one where the
   * cluster has not joined yet.
   */
  start(joinToken: () => Promise<string>): Promise<void>
  stop(): Promise<void>
  /** SIGKILL of every process at once, or of a part's; the directory stays as it is. */
  kill(part?: MemberPart): Promise<void>
  /** SIGSTOP: it dies without a word, and its connections stay open. */
  pause(part?: MemberPart): void
  /** The relay and the centre do not reach each other any more. */
  cut(): void
  /** They reach each other again. */
  mend(): void
  /** What is wanted and not ready, each with the log that says why. Empty = ready. */
  missing(): readonly { readonly name: string; readonly log: string }[]
  /** Its pods, each with the address at which its sidecar takes outbound calls. Empty where it is dead. */
  pods(): readonly { readonly pod: PodObject; readonly outbound: string }[]
  /** Where productpage is, as last known: a killed cluster's addresses stay, as in anybody's DNS. */
  shopAddresses(): readonly string[]
}

const joinMs = 45_000

export function member(plan: ClusterPlan, parts: MemberParts): Member {
  let relay: Program | undefined
  let kubelet: Kubelet | undefined
  let wasReady = false
  let isCut = false
  let relayEnded = false
  const paused = new Set<MemberPart>()
  let shopAddresses: readonly string[] = []
  const membership = join(plan.dir, 'state/membership.json')
  // The relay keeps it: the centre's own file says nothing to a cluster elsewhere.
  const controlPlaneCa = join(plan.dir, 'state/control-plane-ca.pem')
  const relayLog = join(parts.logDir, 'relay.log')
  const cutFile = join(parts.runDir, 'cut')

  return {
    plan,
    joined: () => existsSync(membership),
    running: () => relay !== undefined || kubelet !== undefined,
    starting: () => {
      wasReady ||= kubelet !== undefined && kubelet.missing().length === 0
      return (relay !== undefined || kubelet !== undefined) && !wasReady
    },
    hurt: () => ({ dead: deadParts(), paused: [...paused], cut: isCut }),
    missing: () => [
      ...(relay ? [] : [{ name: `${plan.name}/relay`, log: relayLog }]),
      ...(kubelet?.missing() ?? [{ name: `${plan.name}/pods`, log: relayLog }]),
    ],
    pods: () => kubelet?.pods().map(({ pod, index }) => ({ pod, outbound: podAddresses(plan, index).outbound })) ?? [],
    shopAddresses: () => {
      if (kubelet) shopAddresses = kubelet.addressesOf('productpage')
      return shopAddresses
    },
    start: async (joinToken) => {
      mkdirSync(parts.runDir, { recursive: true, mode: 0o700 })
      goOn()
      mend()
      if (relay && kubelet) return kubelet.startGateway()
      if (!relay && !kubelet) wasReady = false
      seedCluster(plan)
      const issuer = tokenIssuer(plan)
      const token = existsSync(membership) ? undefined : await joinToken()
      parts.signal.throwIfAborted()
      relay ??= startRelay(token)
      const { mesh, trustDomain } = await membershipOnceThere()
      parts.signal.throwIfAborted()
      kubelet ??= startKubelet({ ...parts, cluster: plan, caFile: controlPlaneCa, issuer, mesh, trustDomain })
      kubelet.startGateway()
    },
    stop: async () => {
      goOn()
      await kubelet?.stop()
      await relay?.stop(5000)
      relay = undefined
      kubelet = undefined
    },
    kill: async (part = 'cluster') => {
      paused.delete(part)
      if (part === 'gateway') return await kubelet?.killGateway()
      const killed = [relay?.kill(), part === 'cluster' ? kubelet?.kill() : undefined]
      relay = undefined
      if (part === 'cluster') kubelet = undefined
      await Promise.all(killed)
      if (part === 'relay') return
      paused.clear()
      await endLeftBehind(parts.runDir)
    },
    pause: (part = 'cluster') => {
      paused.add(part)
      if (part === 'cluster') kubelet?.freeze()
      for (const pid of processesOfPart(part)) signalTo(pid, 'SIGSTOP')
    },
    mend,
    cut: () => {
      isCut = true
      writeFileSync(cutFile, '')
    },
  }

  function deadParts(): MemberPart[] {
    if (!relay && !kubelet) return ['cluster']
    return [...(relay ? [] : ['relay' as const]), ...(kubelet?.gatewayRuns() === false ? ['gateway' as const] : [])]
  }

  function mend(): void {
    rmSync(cutFile, { force: true })
    isCut = false
  }

  function goOn(): void {
    if (paused.size === 0) return
    paused.clear()
    for (const pid of processesOf(parts.runDir)) signalTo(pid, 'SIGCONT')
    kubelet?.go()
  }

  function processesOfPart(part: MemberPart): readonly number[] {
    if (part === 'cluster') return processesOf(parts.runDir)
    const pid = part === 'relay' ? relay?.pid() : kubelet?.gatewayPid()
    return [...(pid === undefined ? [] : [pid]), ...(part === 'gateway' ? processesOf(gatewayDir(parts)) : [])]
  }

  /** A relay that ends before it joined says why in its last words. */
  function refusalIn(log: string): string | undefined {
    return /^ *isthmus relay: (.+)$/m.exec(tailOf(log, 3))?.[1]
  }

  /** The join token goes by a file: a command line can be read by everybody on the machine. */
  function startRelay(token: string | undefined): Program {
    const tokenFile = join(parts.runDir, 'join-token')
    relayEnded = false
    if (token !== undefined) replaceFile(tokenFile, token, 0o600)
    return startProgram({
      ...{ runDir: parts.runDir, signal: parts.signal },
      name: `${plan.name}/relay`,
      command: [
        ...[...parts.relayCommand, '--dir', plan.dir],
        ...(token === undefined ? [] : ['--join-file', tokenFile]),
      ],
      env: { ...relayEnvironment, ISTHMUS_SANDBOX_CUT: cutFile, ISTHMUS_SANDBOX_CENTRE: parts.centre },
      log: relayLog,
      onExit: (what) => {
        relayEnded = true
        if (existsSync(membership))
          parts.say(`  ${plan.name}: the relay ended (${what}) and is started again; see ${relayLog}`)
      },
    })
  }

  async function membershipOnceThere(): Promise<{ mesh: string; trustDomain: string }> {
    const there = async () => {
      if (existsSync(membership)) return true
      const reason = relayEnded ? refusalIn(relayLog) : undefined
      if (reason !== undefined) throw new Error(reason)
      return false
    }
    await until(joinMs, `the relay of ${plan.name} has not joined`, there, parts.signal).catch((error: Error) => {
      if (relayEnded) throw error
      throw new Error(`${error.message}; the end of ${relayLog}:\n${tailOf(relayLog)}`, { cause: error })
    })
    return JSON.parse(readFileSync(membership, 'utf8')) as { mesh: string; trustDomain: string }
  }
}
