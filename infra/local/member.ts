import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CentreApi, joinTokenFor } from './centre.ts'
import { type Kubelet, type KubeletParts, startKubelet } from './kubelet.ts'
import { endLeftBehind } from './left-behind.ts'
import { tailOf } from './log-file.ts'
import type { ClusterPlan } from './plan.ts'
import { type Program, startProgram } from './program.ts'
import { relayEnvironment } from './relay-environment.ts'
import { replaceFile } from './replace-file.ts'
import { seedCluster } from './seed.ts'
import { tokenIssuer } from './token-issuer.ts'
import { until } from './until.ts'

export type MemberParts = Omit<KubeletParts, 'cluster' | 'issuer' | 'trustDomain' | 'mesh'> & {
  readonly relayCommand: readonly string[]
}

/** One cluster of the sandbox: its relay and all its pods. */
export type Member = {
  readonly plan: ClusterPlan
  /** Whether it has joined in this or an earlier run: then it starts without the centre. */
  joined(): boolean
  running(): boolean
  /** From its start until everything in it has once been ready. */
  starting(): boolean
  /** Starts what is not running. `api` makes a join token when the cluster has not joined yet. */
  start(api: () => CentreApi): Promise<void>
  stop(): Promise<void>
  /** SIGKILL of every process at once; the directory stays as it is. */
  kill(): Promise<void>
  /** What is wanted and not ready, each with the log that says why. Empty = ready. */
  missing(): readonly { readonly name: string; readonly log: string }[]
  /** Where productpage is, as last known: a killed cluster's addresses stay, as in anybody's DNS. */
  shopAddresses(): readonly string[]
}

const joinMs = 45_000

export function member(plan: ClusterPlan, parts: MemberParts): Member {
  let relay: Program | undefined
  let kubelet: Kubelet | undefined
  let wasReady = false
  let shopAddresses: readonly string[] = []
  const membership = join(plan.dir, 'state/membership.json')
  const relayLog = join(parts.logDir, 'relay.log')

  return {
    plan,
    joined: () => existsSync(membership),
    running: () => relay !== undefined,
    starting: () => {
      wasReady ||= kubelet !== undefined && kubelet.missing().length === 0
      return relay !== undefined && !wasReady
    },
    missing: () => kubelet?.missing() ?? [{ name: `${plan.name}/relay`, log: relayLog }],
    shopAddresses: () => {
      if (kubelet) shopAddresses = kubelet.addressesOf('productpage')
      return shopAddresses
    },
    start: async (api) => {
      if (relay) return
      wasReady = false
      mkdirSync(parts.runDir, { recursive: true, mode: 0o700 })
      seedCluster(plan)
      const issuer = tokenIssuer(plan)
      const token = existsSync(membership) ? undefined : await joinTokenFor(api(), plan)
      relay = startRelay(token)
      const { mesh, trustDomain } = await membershipOnceThere()
      parts.signal.throwIfAborted()
      kubelet = startKubelet({ ...parts, cluster: plan, issuer, mesh, trustDomain })
    },
    stop: async () => {
      await kubelet?.stop()
      await relay?.stop(5000)
      relay = undefined
      kubelet = undefined
    },
    kill: async () => {
      const killed = [relay?.kill(), kubelet?.kill()]
      relay = undefined
      kubelet = undefined
      await Promise.all(killed)
      await endLeftBehind(parts.runDir)
    },
  }

  /** The join token goes by a file: a command line can be read by everybody on the machine. */
  function startRelay(token: string | undefined): Program {
    const tokenFile = join(parts.runDir, 'join-token')
    if (token !== undefined) replaceFile(tokenFile, token, 0o600)
    return startProgram({
      ...{ runDir: parts.runDir, signal: parts.signal },
      name: `${plan.name}/relay`,
      command: [
        ...[...parts.relayCommand, '--dir', plan.dir],
        ...(token === undefined ? [] : ['--join-file', tokenFile]),
      ],
      env: relayEnvironment,
      log: relayLog,
      onExit: (what) => parts.say(`  ${plan.name}: the relay ended (${what}) and is started again; see ${relayLog}`),
    })
  }

  async function membershipOnceThere(): Promise<{ mesh: string; trustDomain: string }> {
    const there = () => Promise.resolve(existsSync(membership))
    await until(joinMs, `the relay of ${plan.name} has not joined`, there, parts.signal).catch((error: Error) => {
      throw new Error(`${error.message}; the end of ${relayLog}:\n${tailOf(relayLog)}`, { cause: error })
    })
    return JSON.parse(readFileSync(membership, 'utf8')) as { mesh: string; trustDomain: string }
  }
}
