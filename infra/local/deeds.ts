import { Problem } from '#mesh/model/problem.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import { planAdded, saveAdded } from './added-clusters.ts'
import { centreUrl, clusterOf, joinTokenFor } from './centre.ts'
import { checkClusterAddresses } from './check-addresses.ts'
import type { Member, MemberPart } from './member.ts'
import type { SandboxPlan } from './plan.ts'
import type { Sandbox } from './sandbox.ts'

export const verbs = ['kill', 'pause', 'restore', 'partition'] as const
export type Verb = (typeof verbs)[number]

/** What is done to a running sandbox by a key or a command: one line of what happened each, or a Problem. */
export type Deeds = {
  /** `what`: `centre`, `<cluster>`, `<cluster>/relay` or `<cluster>/gateway`; for `restore` also `all`. */
  act(verb: Verb, what: string): Promise<string>
  /** Joins a cluster with a token that was made for it, starts its pods, and waits until they are ready. */
  add(name: string, token: string, region?: string): Promise<string>
  /** The same with a token of its own. */
  join(name: string): Promise<string>
}

export type DeedParts = {
  readonly sandbox: Sandbox
  readonly plan: SandboxPlan
  /** Told of each deed on its way: the cluster, or `centre`, and in words what was done. */
  readonly did: (cluster: string, words: string) => void
  /** A cluster came: the command line's context names its relay. */
  readonly onAdded: () => void
}

const readyMs = 60_000
/** Regions of the towns that a cluster may be named after. */
const regions: Readonly<Record<string, string>> = {
  ...{ virginia: 'us-east-1', ohio: 'us-east-2', oregon: 'us-west-2', ireland: 'eu-west-1', london: 'eu-west-2' },
  ...{ frankfurt: 'eu-central-1', tokyo: 'ap-northeast-1', mumbai: 'ap-south-1', sydney: 'ap-southeast-2' },
}

export function openDeeds({ sandbox, plan, did, onAdded }: DeedParts): Deeds {
  const busy = new Map<string, string>()
  return {
    act: (verb, what) => (verb === 'restore' && what === 'all' ? restoreAll() : act(verb, what)),
    add: (name, token, region) => alone(name, 'being added', () => add(name, token, region)),
    join: (name) =>
      alone(name, 'being added', async () => {
        needCentre()
        const { network, region } = planAdded(plan, plansOf(sandbox), name, regionOf(name))
        return await add(name, await joinTokenFor(sandbox.api(), { name, network, region }))
      }),
  }

  async function act(verb: Verb, what: string): Promise<string> {
    const target = targetOf(what)
    const name = target.kind === 'centre' ? 'centre' : target.member.plan.name
    return await alone(name, doing[verb], async () => {
      const began = Date.now()
      const said =
        target.kind === 'centre' ? await toCentre(verb) : await toMember(verb, target.member, target.part, what)
      return `${said}  ${((Date.now() - began) / 1000).toFixed(1)} s`
    })
  }

  async function restoreAll(): Promise<string> {
    const hurt = sandbox.members.filter((one) => isHurt(one)).map(({ plan: { name } }) => name)
    const names = [...(sandbox.centreState() === 'alive' ? [] : ['centre']), ...hurt]
    if (names.length === 0) return 'nothing is dead, paused or cut off'
    return (await Promise.all(names.map((name) => act('restore', name)))).join('\n')
  }

  async function toCentre(verb: Verb): Promise<string> {
    const state = sandbox.centreState()
    if (verb === 'partition') {
      for (const one of sandbox.members) one.cut()
      did('centre', 'the centre was cut off from every relay')
      return '✘ centre is cut off from every relay: each serves what it knows, changes wait'
    }
    if (verb === 'restore') {
      await sandbox.startCentre()
      for (const one of sandbox.members) one.mend()
      did('centre', 'the centre was restored')
      return '✔ centre is back'
    }
    if (state === 'dead') throw new Problem('conflict', `the centre is dead already: ${mend('centre')}`)
    if (verb === 'pause') sandbox.pauseCentre()
    else await sandbox.killCentre()
    did('centre', `the centre was ${past[verb]}`)
    return `✘ centre is ${verb === 'kill' ? 'dead' : 'paused (SIGSTOP)'}: traffic goes on, each relay serves what it knows`
  }

  async function toMember(verb: Verb, one: Member, part: MemberPart, what: string): Promise<string> {
    const { name } = one.plan
    const { dead } = one.hurt()
    if (verb === 'restore') {
      did(name, `${what} was restored`)
      await sandbox.startMember(name)
      await sandbox.memberReady(name, readyMs)
      did(name, `${what} is back`)
      return `✔ ${what} is back`
    }
    if (dead.includes('cluster') || (part !== 'cluster' && dead.includes(part)))
      throw new Problem('conflict', `${what} is dead already: ${mend(name)}`)
    if (verb === 'partition') {
      if (part === 'gateway')
        throw new Problem('invalid', `${what} has no line that could be cut: kill or pause stop a gateway`, {
          extra: { mend: `isthmus sandbox partition ${name} cuts its relay from the centre` },
        })
      one.cut()
      did(name, `${name} was cut off from the centre`)
      return `✘ ${name} and the centre do not reach each other: its pods and gateway work on, its relay serves what it knows, changes wait`
    }
    did(name, `${what} was ${past[verb]}`)
    if (verb === 'pause') one.pause(part)
    else await one.kill(part)
    return `✘ ${what} is ${verb === 'kill' ? 'dead' : 'paused (SIGSTOP): its connections stay open and nobody answers'}`
  }

  async function add(name: string, pasted: string, region?: string): Promise<string> {
    const began = Date.now()
    const cluster = planAdded(plan, plansOf(sandbox), name, region ?? regionOf(name))
    const token = parseJoinToken(pasted)
    if (token.cluster !== name)
      throw new Problem(
        'invalid',
        `the join token was made for cluster "${token.cluster}", not for "${name}": make one with: isthmus token create ${name}`,
      )
    if (token.url !== centreUrl(plan))
      throw new Problem(
        'invalid',
        `the join token leads to ${token.url}, and this sandbox's centre is ${centreUrl(plan)}: make one with: ` +
          `isthmus token create ${name}`,
      )
    needCentre()
    const [taken] = await checkClusterAddresses(cluster)
    if (taken !== undefined)
      throw new Problem('conflict', taken, { extra: { mend: 'free the address, then repeat the command' } })
    const known = await clusterOf(sandbox.api(), name)
    const where =
      typeof known?.['region'] === 'string' && known['region'] !== '' && !region
        ? { ...cluster, region: known['region'] }
        : cluster
    await sandbox.addMember(where, pasted.replace(/\s+/g, ''))
    saveAdded(plan, plansOf(sandbox))
    onAdded()
    did(name, `${name} joined`)
    await sandbox.memberReady(name, readyMs)
    return `✔ ${name} joined, its gateway and pods are ready  ${((Date.now() - began) / 1000).toFixed(1)} s`
  }

  function needCentre(): void {
    const centre = sandbox.centreState()
    if (centre !== 'alive')
      throw new Problem(
        'unavailable',
        `a cluster joins at the centre, which is ${centre}: ${centre === 'starting' ? 'wait a moment, then repeat' : mend('centre')}`,
      )
  }

  /** One deed at a time for each cluster, and for the centre. */
  async function alone<T>(name: string, how: string, work: () => Promise<T>): Promise<T> {
    const other = busy.get(name)
    if (other !== undefined)
      throw new Problem('conflict', `${name} is ${other} just now`, {
        extra: { mend: 'wait for that, then repeat the command' },
      })
    busy.set(name, how)
    try {
      return await work()
    } finally {
      busy.delete(name)
    }
  }

  function targetOf(what: string): { kind: 'centre' } | { kind: 'member'; member: Member; part: MemberPart } {
    if (what === 'centre') return { kind: 'centre' }
    const [name = '', part = 'cluster', ...more] = what.split('/')
    const names = sandbox.members.map((one) => one.plan.name)
    if (name === 'relay' || name === 'gateway')
      throw new Problem('invalid', `whose ${name}? Known: ${names.map((one) => `${one}/${name}`).join(', ')}`, {
        extra: { mend: `isthmus sandbox … ${names[0]}/${name}` },
      })
    const member = sandbox.members.find((one) => one.plan.name === name)
    if (!member || more.length > 0 || !(part === 'cluster' || part === 'relay' || part === 'gateway'))
      throw new Problem(
        'not-found',
        `there is no "${what.slice(0, 80)}" in this sandbox; known: centre, ${names.join(', ')}, and <cluster>/relay, <cluster>/gateway`,
        { extra: { mend: 'isthmus sandbox --help' } },
      )
    return { kind: 'member', member, part }
  }
}

const plansOf = (sandbox: Sandbox) => sandbox.members.map((one) => one.plan)
const regionOf = (name: string): string => {
  const town = name.replace(/-\d+$/, '')
  return Object.hasOwn(regions, town) ? (regions[town] ?? town) : town
}
const mend = (name: string): string => `bring it back with: isthmus sandbox restore ${name}`
const past = { kill: 'killed', pause: 'paused' } as const
const doing = {
  kill: 'being killed',
  pause: 'being paused',
  restore: 'being restored',
  partition: 'being cut off',
} as const

function isHurt(one: Member): boolean {
  const { dead, paused, cut } = one.hurt()
  return dead.length > 0 || paused.length > 0 || cut
}
