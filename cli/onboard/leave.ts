import { listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import type { ClusterApi } from '#cli/onboard/cluster-api.ts'
import { systemNamespace } from '#cli/onboard/manifests/object.ts'
import { type Member, memberOf, removed } from '#cli/onboard/membership.ts'
import { readFacts } from '#cli/onboard/preflight.ts'
import { type Removed, removeOurs } from '#cli/onboard/remove.ts'
import type { Say } from '#cli/onboard/steps.ts'
import { cell, type Row } from '#cli/output.ts'
import { beginDrain, type DrainWish, followDrain } from '#cli/traffic/drain.ts'
import { Problem } from '#mesh/model/problem.ts'

export type LeaveParts = {
  readonly api: ClusterApi
  readonly centre: Centre
  readonly cluster: string
  readonly overSeconds: number
  readonly graceSeconds: number
  readonly say: Say
}

/**
 * Takes a cluster out of the mesh without a call that fails: others are led away from it, and only when nothing comes any
 * more is it removed at the centre, and then all of ours from it. Until then `undrain` takes it back. Each step finds what
 * an earlier run has done. Throws what stands in the way.
 */
export async function leaveCluster(parts: LeaveParts): Promise<Removed> {
  const { api, centre, cluster, say } = parts
  const { version, installed } = await readFacts(api)
  const member = await memberOf(centre, cluster)
  checkMeant(parts, installed, member)
  say(
    'preflight',
    `${api.said} (${api.server}): Kubernetes ${version}; ${cluster} is ${member?.state ?? 'not known'} at ${centre.url}`,
  )
  const meshed = await meshedPods(api)
  if (meshed > 0)
    say('preflight', `${meshed} pods there have a sidecar of the mesh: they keep what they know until it is taken away`)
  if (member?.state === 'joined') await drained(parts)
  if (member && member.state !== 'left') {
    await removed(centre, cluster)
    say('withdraw', `${cluster} has left: its exports are withdrawn, its credentials are void`)
  }
  return removeOurs(api, say)
}

/** Throws where this is not the cluster that was named. */
function checkMeant({ api, cluster }: LeaveParts, installed: string | undefined, member: Member | undefined): void {
  const on = `ConfigMap ${systemNamespace}/relay of ${api.said}`
  if (installed !== undefined && installed !== cluster)
    throw refusal({
      ...{ kind: 'conflict', why: `${api.said} is cluster "${installed}", not "${cluster}"`, on },
      mend: `isthmus cluster leave ${installed}, or name another --context`,
    })
  if (installed === undefined && member?.state === 'joined')
    throw refusal({
      ...{ kind: 'not-found', why: `${api.said} has no relay of ours, and ${cluster} is a member`, on },
      mend: `name the right --context; where the cluster is gone: isthmus cluster leave ${cluster} --force ${cluster}`,
    })
  if (member === undefined && installed === undefined)
    throw refusal({
      kind: 'not-found',
      why: `there is no cluster "${cluster}"`,
      on: `cluster ${cluster}`,
      mend: 'isthmus get clusters',
    })
}

/** Others are led away, and have been measured to be away. A drain that was begun before is followed. */
async function drained({ centre, cluster, overSeconds, graceSeconds, say }: LeaveParts): Promise<void> {
  const isIts = (row: Row): boolean =>
    row['kind'] === 'cluster' && row['subject'] === cluster && row['state'] !== 'undone'
  const before = (await listAll(centre, '/v1/drains')).find(isIts)
  const wish = { kind: 'cluster', subject: cluster, overSeconds, graceSeconds, reason: 'the cluster leaves' }
  const first = before && before['state'] !== 'stopped' ? before : await begun(centre, wish)
  const last = await followDrain(centre, first, { print: (line) => say('drain', line.trim()) })
  if (last['state'] === 'done') return
  throw refusal({
    kind: 'conflict',
    why: `${cluster} is not empty: its drain is ${cell(last['state'])} at ${cell(last['percent'])} %: ${cell(last['why'])}`,
    on: `drain of cluster ${cluster}`,
    mend: `isthmus undrain cluster ${cluster} takes it back; or see to that, and repeat the command`,
  })
}

async function begun(centre: Centre, wish: DrainWish): Promise<Row> {
  try {
    return await beginDrain(centre, wish)
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error
    const mend =
      'export these services from another cluster first, or take their exports away (kubectl delete serviceexport); where ' +
      `only capacity is short: isthmus drain cluster ${wish.subject} --force --reason <why>, then repeat the command`
    const { kind, message, violations, extra } = error
    throw placed(new Problem(kind, message, { violations, extra: { ...extra, mend }, cause: error }), {})
  }
}

/** Those outside of our own namespace. */
async function meshedPods(api: ClusterApi): Promise<number> {
  const pods = await api.list('/api/v1/pods', { labelSelector: 'security.istio.io/tlsMode=istio' })
  return pods.filter((pod) => (pod['metadata'] as { namespace?: string }).namespace !== systemNamespace).length
}

/**
 * Takes a cluster that is gone out of the mesh: the centre alone is asked. Throws `conflict` where its relay still reports,
 * `invalid` where the name is not typed again.
 */
export async function forgetCluster(centre: Centre, cluster: string, typed: string): Promise<void> {
  const on = `cluster ${cluster}`
  if (typed !== cluster)
    throw refusal({
      ...{ kind: 'invalid', why: `"${typed}" is not its name: with --force it is typed twice`, on },
      mend: `isthmus cluster leave ${cluster} --force ${cluster}`,
    })
  const member = await memberOf(centre, cluster)
  if (!member)
    throw refusal({ kind: 'not-found', why: `there is no cluster "${cluster}"`, on, mend: 'isthmus get clusters' })
  if (member.state === 'joined' && member.isHeard)
    throw refusal({
      ...{ kind: 'conflict', why: 'it is not gone: its relay reports', on },
      mend: `isthmus cluster leave ${cluster} --context <context>; where it is gone, repeat this once it counts as silent`,
    })
  await removed(centre, cluster)
}
