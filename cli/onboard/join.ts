import type { Centre } from '#cli/context.ts'
import { applyPlanned, type Planned, planApply } from '#cli/onboard/apply.ts'
import { checkBefore } from '#cli/onboard/check/check-before.ts'
import type { ClusterApi } from '#cli/onboard/cluster-api.ts'
import { handToken, takeTokenBack } from '#cli/onboard/hand-token.ts'
import { buildManifests } from '#cli/onboard/manifests/build.ts'
import { gatewayName } from '#cli/onboard/manifests/gateway.ts'
import { type KubeObject, objectText, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { type JoinWish, settingsFor } from '#cli/onboard/manifests/settings-for.ts'
import { callersThrough, gatewaysOf, memberOf, meshOf, registered, type SeenGateway } from '#cli/onboard/membership.ts'
import { checkInstalled, checkRights, placeFrom, readFacts, rightsFor } from '#cli/onboard/preflight.ts'
import { readRollout } from '#cli/onboard/rollout.ts'
import { type Look, type Waiting, waitFor } from '#cli/onboard/steps.ts'
import { someOf } from '#mesh/model/some-of.ts'

export type { JoinWish } from '#cli/onboard/manifests/settings-for.ts'

export type JoinParts = Waiting & {
  readonly api: ClusterApi
  readonly centre: Centre
  readonly wish: JoinWish
  /** It is one of EKS, whatever it says of itself. */
  readonly isEks?: boolean
  /** Unix ms. */
  readonly clock: () => number
}

export type Joined = { readonly gateways: readonly SeenGateway[]; readonly writes: number }

/**
 * Makes a Kubernetes cluster a member, step by step; each step finds what an earlier run has done and goes on from there,
 * and where all is done nothing is written. Throws what stands in the way, on which object, and what mends it.
 */
export async function joinCluster(parts: JoinParts): Promise<Joined> {
  const { api, centre, wish, say } = parts
  const { cluster } = wish
  const { place, isEks } = await prepared(parts)
  const { isNew, ...member } = await registered(centre, { name: cluster, ...place, dryRun: false })
  say(
    'register',
    `${cluster} ${isNew ? 'is registered' : `is ${member.state}`} at ${centre.url}; trust domain ${member.trustDomain}`,
  )
  const { trustDomain } = member
  const settings = settingsFor(wish, { ...place, isEks, mesh: await meshOf(centre), trustDomain })
  const planned = await planApply(api, buildManifests(settings))
  const [first, others] = [planned.slice(0, 1), planned.slice(1)]
  // The token lies in the namespace, and is there before the relay looks for it.
  let writes = await applyPlanned(api, first)
  const handed = await handToken({ api, centre, cluster, member, now: parts.clock })
  writes += (handed === 'new' ? 1 : 0) + (await applyPlanned(api, others))
  say('apply', appliedText(planned))
  if (handed !== 'none')
    say(
      'apply',
      handed === 'new' ? 'a join token waits for the relay' : 'the join token of an earlier run waits for the relay',
    )
  await waitFor(parts, 'ready', () => lookAtRollout(parts, 'relay'))
  await waitFor(parts, 'connected', () => lookAtMember(parts))
  say('connected', `the centre hears ${cluster}`)
  if (await takeTokenBack(api)) writes += 1
  await waitFor(parts, 'ready', () => lookAtRollout(parts, gatewayName))
  const gateways = await waitFor(parts, 'gateway', () => lookAtGateways(parts))
  say('gateway', gateways.map(({ address, port, state }) => `${address}:${port} ${state}`).join(', '))
  say('probe', await waitFor(parts, 'probe', () => lookAtProbes(parts, place.network)))
  return { gateways, writes }
}

/** What would be applied; nothing is written, here or there. */
export async function rehearseJoin(parts: JoinParts): Promise<readonly KubeObject[]> {
  const { place, isEks } = await prepared(parts)
  const { wish, centre } = parts
  const { trustDomain } = await registered(centre, { name: wish.cluster, ...place, dryRun: true })
  return buildManifests(settingsFor(wish, { ...place, isEks, mesh: await meshOf(centre), trustDomain }))
}

/** Looks, and says what it found; nothing is written. */
async function prepared({ api, say, wish, isEks = false, centre, clock }: JoinParts) {
  const found = await readFacts(api)
  const facts = { ...found, isEks: isEks || found.isEks }
  const nodes = `${facts.nodes} ${facts.nodes === 1 ? 'node' : 'nodes'}`
  say('preflight', `${api.said} (${api.server}): Kubernetes ${facts.version}, ${nodes}${facts.isEks ? ', EKS' : ''}`)
  checkInstalled(wish.cluster, facts, api)
  const { why, ...place } = placeFrom(wish.cluster, facts, wish)
  say('preflight', why)
  const known = { ...place, isEks: facts.isEks }
  await checkRights(api, rightsFor(buildManifests(settingsFor(wish, { ...known, mesh: '', trustDomain: '' }))))
  await checkBefore({ api, say, centre, now: clock })
  return { place, isEks: facts.isEks }
}

function appliedText(planned: readonly Planned[]): string {
  const counts = Map.groupBy(planned, ({ state }) => state)
  const count = (state: Planned['state'], word: string): string[] => {
    const many = counts.get(state)?.length ?? 0
    return many === 0 ? [] : [`${many} ${word}`]
  }
  const words = [...count('create', 'created'), ...count('change', 'changed'), ...count('same', 'as they should be')]
  const theirs = (counts.get('theirs') ?? []).map(({ object }) => objectText(object))
  return `${planned.length} objects: ${[...words, ...(theirs.length > 0 ? [`of others: ${theirs.join(', ')}`] : [])].join(', ')}`
}

async function lookAtRollout({ api, say }: JoinParts, name: string): Promise<Look<true>> {
  const { ready, wanted, isDone, why = 'its pods start', isStuck = false, mend } = await readRollout(api, name)
  if (isDone) {
    say('ready', `${name} ${ready}/${wanted}`)
    return { done: true }
  }
  const on = `Deployment ${systemNamespace}/${name} of ${api.said}`
  const see = `kubectl -n ${systemNamespace} describe deployment ${name}`
  return { why: `${name} ${ready}/${wanted}: ${why}`, on, mend: mend ?? see, isStuck }
}

async function lookAtMember({ centre, wish }: JoinParts): Promise<Look<true>> {
  const member = await memberOf(centre, wish.cluster)
  if (member?.state === 'joined' && member.isHeard) return { done: true }
  const why =
    member?.state === 'joined' ? 'the centre has not heard of its relay for minutes' : 'its relay has not joined yet'
  return {
    ...{ why, on: `cluster ${wish.cluster}` },
    mend: `look at its log, and whether its pods reach ${centre.url}: kubectl -n ${systemNamespace} logs deployment/relay`,
  }
}

async function lookAtGateways({ api, centre, wish }: JoinParts): Promise<Look<readonly SeenGateway[]>> {
  const gateways = await gatewaysOf(centre, wish.cluster)
  if (gateways.some(({ state }) => state === 'ready')) return { done: gateways }
  const on = `Service ${systemNamespace}/${gatewayName} of ${api.said}`
  const [first] = gateways
  if (first)
    return {
      ...{ why: `the gateway ${first.address}:${first.port} is ${first.state}: its relay does not see it listen`, on },
      mend: `kubectl -n ${systemNamespace} logs deployment/${gatewayName}`,
    }
  return {
    ...{ why: 'the gateway has no address yet: no load balancer was given to it', on },
    mend: 'look at the load-balancer controller, or make one by hand and name it: --gateway-address <address>[:<port>]',
  }
}

/** Who calls nothing there does not probe it. */
async function lookAtProbes({ api, centre, wish }: JoinParts, network: string): Promise<Look<string>> {
  const name = wish.cluster
  const [callers, gateways] = await Promise.all([callersThrough(centre, { name, network }), gatewaysOf(centre, name)])
  const reached = callers.filter((one) => gateways.some(({ reachedFrom }) => reachedFrom.includes(one)))
  if (callers.length === 0)
    return { done: 'no other member calls anything there yet: its gateway is probed once one does' }
  if (reached.length > 0)
    return { done: `${someOf(reached, 5)} ${reached.length === 1 ? 'reaches' : 'reach'} its gateway` }
  const addresses = gateways.map(({ address, port }) => `${address}:${port}`)
  return {
    why: `${someOf(callers, 5)} ${callers.length === 1 ? 'has' : 'have'} not reached its gateway yet`,
    on: `gateway ${addresses.join(', ')} of ${api.said}`,
    mend: `see that ${someOf(addresses, 3)} can be dialled from there: routes, security groups, firewalls`,
  }
}
