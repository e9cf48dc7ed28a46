import { cannotFailOver } from '#mesh/foresee/order.ts'
import { aboutCluster, bad, badOf, type Fault, good, nobodyTrusted, type Path, unsure } from '#mesh/foresee/path.ts'
import type { JudgedCluster, JudgedProbe } from '#mesh/foresee/seen.ts'
import type { Step } from '#mesh/model/explanation.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Admitted } from '#mesh/model/traffic.ts'
import { serviceSaw } from '#mesh/policy/judge-services.ts'

/** Whether the clusters that such calls are meant for get them: verdicts, drains, limits, and pods that are ready. */
export function healthStep(path: Path): Step {
  const { seen, live } = path
  if (live.length === 0) return nobodyTrusted('health')
  const others = live.filter((cluster) => cluster !== seen.view.home.cluster)
  if (seen.relay?.isolated && others.length > 0) return isolated(path)
  const faults = live.flatMap((cluster) => faultOf(path, cluster) ?? [])
  const [one, ...more] = faults
  const single = cannotFailOver(seen, path.imported.key)
  if (one) return badOf('health', [single ? { ...one, fix: `${one.fix}; ${single}` } : one, ...more])
  const unheard = live.filter((cluster) => path.offers.has(cluster) && path.offers.get(cluster)?.ready === undefined)
  if (unheard.length > 0)
    return unsure(
      'health',
      `how many pods are ready in ${someOf(unheard)} was not heard; they are dialled all the same`,
    )
  return good(
    'health',
    `ready: ${someOf(live.map((cluster) => `${readyText(path, cluster)} in ${cluster}`))}${frozenText(path)}`,
  )
}

const isolated = ({ seen }: Path): Step =>
  bad('health', {
    saw: 'no gateway of any other cluster answers the relay: it takes itself for the one that is cut off, and moves nobody',
    fix: `look at the network of ${seen.view.home.cluster}`,
    at: aboutCluster(seen.view.home.cluster),
  })

const frozenText = ({ seen }: Path): string =>
  seen.frozen ? `; verdicts move nobody: frozen by ${seen.frozen.by}: ${seen.frozen.reason}` : ''

function readyText({ offers }: Path, cluster: ClusterName): string {
  const offer = offers.get(cluster)
  return offer ? `${offer.ready} of ${offer.total} pods` : 'no road'
}

function faultOf(path: Path, cluster: ClusterName): Fault | undefined {
  const { seen, imported } = path
  const { key } = imported
  const isOwn = cluster === seen.view.home.cluster
  const judged = isOwn ? undefined : seen.relay?.clusters.get(cluster)
  if (judged?.keptBecause) return kept(path, cluster, judged)
  const probed = isOwn ? undefined : seen.relay?.services.find((one) => one.service === key && one.cluster === cluster)
  if (probed?.keptBecause) return keptProbe(path, probed)
  const { traffic } = seen.view
  const said = traffic?.services.get(key)?.get(cluster) ?? (isOwn ? undefined : traffic?.clusters.get(cluster))
  const drain = isOwn ? undefined : imported.drains?.find((one) => one.cluster === cluster)
  if (drain && drain.percent <= (said?.percent ?? 100))
    return {
      saw: `${key} is drained from ${cluster}: it gets ${drain.percent} % of its share`,
      fix: `isthmus undrain service ${cluster}/${key}`,
      at: aboutCluster(cluster),
    }
  if (said && (said.percent < 100 || said.cap !== undefined)) return admission(path, said, { judged, probed })
  return notReady(path, cluster)
}

type Verdicts = { readonly judged: JudgedCluster | undefined; readonly probed: JudgedProbe | undefined }

function admission({ imported, seen }: Path, said: Admitted, { judged, probed }: Verdicts): Fault {
  const { cluster, percent, why, cap } = said
  const at = aboutCluster(cluster)
  const share = percent === 0 ? 'nothing' : `${percent} % of its share`
  const backIn = (back: number | null | undefined): string =>
    back === undefined || back === null ? '' : `; all of it is back in ${back} s if it stays well`
  const then = backIn(judged?.backInSeconds)
  const look = `look at the gateways of ${cluster} and at the network on the way: isthmus gateways --cluster ${cluster}`
  const texts: Record<Admitted['why'], Fault> = {
    dead: { saw: `${cluster} is out and gets ${share}: ${probeText(judged)}${then}`, fix: look, at },
    returning: {
      saw: `${cluster} comes back and gets ${share}${then}`,
      fix: `wait: a cluster that returns gets its calls by and by (failback of ${imported.policy?.name ?? 'the default'})`,
      at,
    },
    probe: {
      saw:
        `${cluster} ${percent === 0 ? 'is out' : 'comes back'} for ${imported.key} and gets ${share}: ` +
        `${serviceText(probed)}${backIn(probed?.backInSeconds)}`,
      fix: lookAtService(imported, cluster),
      at,
    },
    drain: { saw: `${cluster} is drained and gets ${share}`, fix: `isthmus undrain cluster ${cluster}`, at },
    lost: {
      saw:
        `the centre has not heard of ${cluster}, and ${imported.policy?.name ?? 'a policy'} gives it up then: ` +
        `it gets ${share}`,
      fix: `look at the relay of ${cluster}: isthmus status`,
      at,
    },
    quota: {
      saw:
        `${cluster} gets at most ${Math.round((cap ?? 1) * 100)} % of the calls of ${seen.view.home.cluster}: ` +
        'what it is able to take is shared out',
      fix: `raise its capacity in ${imported.policy?.name ?? 'the policy'}, or name another cluster beside it`,
      at,
    },
  }
  return texts[why]
}

function kept({ seen }: Path, cluster: ClusterName, judged: JudgedCluster): Fault {
  const isFrozen = judged.keptBecause === 'frozen'
  const why = isFrozen
    ? `nothing moves by itself: frozen${seen.frozen ? ` by ${seen.frozen.by}: ${seen.frozen.reason}` : ''}`
    : 'as many clusters as may be are out already'
  return {
    saw: `${cluster} is as good as dead (${probeText(judged)}), and its callers stay because ${why}`,
    fix: isFrozen ? 'isthmus unfreeze' : `look at the gateways of ${cluster} and at this cluster's network`,
    at: aboutCluster(cluster),
  }
}

function keptProbe({ imported, seen }: Path, probed: JudgedProbe): Fault {
  const { cluster, keptBecause } = probed
  const why = {
    frozen: `nothing moves by itself: frozen${seen.frozen ? ` by ${seen.frozen.by}: ${seen.frozen.reason}` : ''}`,
    capped: 'as many of its clusters as may be are out already',
    all: 'it fails in every cluster that is asked',
  }[keptBecause ?? 'all']
  return {
    saw: `${imported.key} fails in ${cluster} (${serviceText(probed)}), and its callers stay because ${why}`,
    fix: keptBecause === 'frozen' ? 'isthmus unfreeze' : lookAtService(imported, cluster),
    at: aboutCluster(cluster),
  }
}

const serviceText = (probed: JudgedProbe | undefined): string => {
  const { evidence } = probed ?? {}
  return evidence ? `${serviceSaw(evidence)} for ${Math.round(evidence.forMs / 1000)} s` : 'its probe failed'
}

const lookAtService = ({ key, policy }: Path['imported'], cluster: ClusterName): string =>
  `look at ${key} in ${cluster} (isthmus endpoints --service ${key} --cluster ${cluster}), and at what ` +
  `the probe of ${policy?.name ?? 'its policy'} asks`

const probeText = (judged: JudgedCluster | undefined): string => {
  const { evidence } = judged ?? {}
  if (!evidence) return 'its gateways do not answer'
  const { failed, of, last, forMs } = evidence
  return `${failed} of its ${of} gateways did not answer (${last}) for ${Math.round(forMs / 1000)} s`
}

function notReady({ offers, imported, seen, live }: Path, cluster: ClusterName): Fault | undefined {
  const offer = offers.get(cluster)
  if (offer?.ready !== 0) return undefined
  const { key } = imported
  const at = aboutCluster(cluster)
  const look = `isthmus endpoints --service ${key} --cluster ${cluster}`
  if (offer.total > 0)
    return {
      saw: `0 of ${offer.total} pods of ${key} are ready in ${cluster}`,
      fix: `look at its pods there: ${look}`,
      at,
    }
  // Nobody misses a cluster without pods beside others that have some.
  if (live.some((one) => (offers.get(one)?.ready ?? 1) > 0)) return undefined
  const isOwn = cluster === seen.view.home.cluster
  return {
    saw: `no meshed pod stands behind ${key} in ${cluster}`,
    fix: `start some${isOwn ? '' : ' there'}, with a proxy and the label security.istio.io/tlsMode=istio: ${look}`,
    at,
  }
}
