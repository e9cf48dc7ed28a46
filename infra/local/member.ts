import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { type CentreApi, joinTokenFor } from './centre.ts'
import { type Kubelet, type KubeletParts, startKubelet } from './kubelet.ts'
import { type ClusterPlan, relayAddress, statusPort } from './plan.ts'
import { type Program, startProgram } from './program.ts'
import { seedCluster } from './seed.ts'
import { tokenIssuer } from './token-issuer.ts'

export type MemberParts = Omit<KubeletParts, 'cluster' | 'issuer' | 'trustDomain' | 'mesh' | 'runDir' | 'logDir'> & {
  readonly relayCommand: readonly string[]
  /** Directories of the whole sandbox; each member has a folder in each. */
  readonly runDir: string
  readonly logDir: string
}

/** One cluster of the sandbox: its relay and all its pods. */
export type Member = {
  readonly plan: ClusterPlan
  /** Starts what is not running. `api` makes a join token when the cluster has not joined yet. */
  start(api: () => CentreApi): Promise<void>
  stop(): Promise<void>
  /** SIGKILL of every process at once; the directory stays as it is. */
  kill(): Promise<void>
  /** The relay's own status, undefined while it does not answer. */
  relayStatus(): Promise<Readonly<Record<string, unknown>> | undefined>
  readiness(): { readonly ready: number; readonly wanted: number }
  programs(): readonly Program[]
  /** Where productpage is, as last known: a killed cluster's addresses stay, as in anybody's DNS. */
  shopAddresses(): readonly string[]
}

export function member(plan: ClusterPlan, parts: MemberParts): Member {
  let relay: Program | undefined
  let kubelet: Kubelet | undefined
  let shopAddresses: readonly string[] = []
  const membership = join(plan.dir, 'state/membership.json')

  return {
    plan,
    programs: () => [...(relay ? [relay] : []), ...(kubelet?.programs() ?? [])],
    readiness: () => kubelet?.readiness() ?? { ready: 0, wanted: 1 },
    shopAddresses: () => {
      if (kubelet) shopAddresses = kubelet.addressesOf('productpage')
      return shopAddresses
    },
    relayStatus: () => statusOf(plan),
    start: async (api) => {
      if (relay) return
      seedCluster(plan)
      const issuer = tokenIssuer(plan)
      const joined = existsSync(membership)
      const join = joined ? [] : ['--join', await joinTokenFor(api(), plan)]
      relay = startProgram({
        name: `${plan.name}/relay`,
        command: [...parts.relayCommand, '--dir', plan.dir, ...join],
        log: `${parts.logDir}/${plan.name}/relay.log`,
        restart: true,
        onExit: (what) => parts.say(`relay of ${plan.name} ended (${what})`),
      })
      const { mesh, trustDomain } = await membershipOnceThere()
      const runDir = `${parts.runDir}/${plan.name}`
      mkdirSync(runDir, { recursive: true, mode: 0o700 })
      kubelet = startKubelet({
        ...parts,
        cluster: plan,
        issuer,
        mesh,
        trustDomain,
        runDir,
        logDir: `${parts.logDir}/${plan.name}`,
      })
    },
    stop: async () => {
      await kubelet?.stop()
      await relay?.stop(5000)
      relay = undefined
      kubelet = undefined
    },
    kill: async () => {
      await Promise.all([relay?.kill(), kubelet?.kill()])
      relay = undefined
      kubelet = undefined
    },
  }

  async function membershipOnceThere(): Promise<{ mesh: string; trustDomain: string }> {
    for (let waited = 0; !existsSync(membership); waited += 50) {
      if (waited > 30_000)
        throw new Error(
          `the relay of ${plan.name} did not join within 30 s: ${parts.logDir}/${plan.name}/relay.log says why`,
        )
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return JSON.parse(readFileSync(membership, 'utf8')) as { mesh: string; trustDomain: string }
  }
}

function statusOf(plan: ClusterPlan): Promise<Readonly<Record<string, unknown>> | undefined> {
  return new Promise((resolve) => {
    const request = get(
      { host: relayAddress(plan), port: statusPort, path: '/status', timeout: 1000, agent: false },
      (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('error', () => resolve(undefined))
        answer.on('end', () => {
          try {
            resolve(JSON.parse(Buffer.concat(parts).toString('utf8')) as Record<string, unknown>)
          } catch {
            resolve(undefined)
          }
        })
      },
    )
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(undefined))
  })
}
