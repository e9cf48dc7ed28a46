import { aboutCluster, bad, badOf, type Fault, good, type Path, unsure } from '#mesh/foresee/path.ts'
import type { SeenRefusal } from '#mesh/foresee/seen.ts'
import type { Source } from '#mesh/model/cluster-config.ts'
import type { Step } from '#mesh/model/explanation.ts'
import { outboundNameOf } from '#mesh/model/host.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** Whether both ends may still speak as who they are, and answered as who they should be. */
export function identityStep(path: Path): Step {
  const own = callerFault(path)
  if (own) return bad('identity', own)
  const sources = firstSources(path)
  const faults = sources.flatMap((source) => sourceFault(path, source) ?? [])
  const [one, ...more] = faults
  if (one) return badOf('identity', [one, ...more])
  const refused = refusalOf(path, ['name', 'no-bundle'])
  if (refused) return bad('identity', wrongPeer(path, refused))
  const wrong = path.seen.relay?.wrong.find(({ cluster }) => path.first.includes(cluster))
  if (wrong)
    return bad('identity', {
      saw: `${wrong.address} of ${wrong.cluster} answers, and not as one of its gateways: ${wrong.detail}`,
      fix: `look at that gateway's certificate, at its address and at the clock here`,
      at: `gateway ${wrong.address}`,
    })
  const ids = sources.flatMap(({ identities }) => identities)
  if (!path.seen.view.bundle)
    return unsure('identity', `expected: ${someOf(ids, 3)}; whom the mesh trusts was not heard`)
  return good('identity', `expected: ${someOf(ids, 3)}`)
}

const firstSources = ({ road, first }: Path): readonly Source[] =>
  road.sources.filter(({ cluster }) => first.includes(cluster))

function callerFault({ seen, caller }: Path): Fault | undefined {
  const { bundle, home } = seen.view
  const { namespace, pod } = caller
  const account = seen.relay?.pod?.serviceAccount
  const id = `spiffe://${home.trustDomain}/ns/${namespace}/sa/${account}`
  if (bundle?.revoked.some((one) => one.trustDomain === home.trustDomain))
    return revoked(home.cluster, home.trustDomain)
  if (account === undefined || !bundle?.denied.some((one) => one.id === id)) return undefined
  return { saw: `the caller's own identity ${id} is denied`, fix: undoFix, at: `pod ${namespace}/${pod}` }
}

const undoFix =
  'isthmus trust log shows the revocation; where it was a mistake: isthmus trust undo <number> --reason <why>'

const revoked = (cluster: string, trustDomain: string): Fault => ({
  saw: `nobody trusts ${trustDomain} any more: it was revoked`,
  fix: undoFix,
  at: aboutCluster(cluster),
})

function sourceFault({ seen }: Path, { cluster, trustDomain, identities }: Source): Fault | undefined {
  const { bundle } = seen.view
  if (bundle?.revoked.some((one) => one.trustDomain === trustDomain)) return revoked(cluster, trustDomain)
  const denied = new Set(bundle?.denied.map(({ id }) => id))
  if (identities.length === 0 || !identities.every((id) => denied.has(id))) return undefined
  return {
    saw: `who answers in ${cluster} is denied: ${someOf(identities, 3)}`,
    fix: undoFix,
    at: aboutCluster(cluster),
  }
}

function wrongPeer({ imported, road }: Path, { peer, cause }: SeenRefusal): Fault {
  const ids = road.sources.flatMap(({ identities }) => identities)
  return {
    saw: `${peer} proved to be somebody else than ${someOf(ids, 3)}: ${cause}`,
    fix: `look at the service account of the pods behind ${imported.key}, and whether ${peer} is the right gateway`,
    at: `service ${imported.key}`,
  }
}

/** Refusals of before that nobody met again say nothing about now. */
const freshMs = 600_000

function refusalOf({ seen, callable, caller }: Path, reasons: readonly string[]): SeenRefusal | undefined {
  const wanted = outboundNameOf(callable.host, callable.port.port)
  const pod = `${caller.namespace}/${caller.pod}`
  return seen.relay?.refusals.find(
    (one) =>
      one.envoyCluster === wanted && one.pod === pod && seen.now - one.at < freshMs && reasons.includes(one.reason),
  )
}

const certificateReasons = [
  'expired',
  'not-yet-valid',
  'constraint',
  'unknown-issuer',
  'no-certificate',
  'refused-by-peer',
]

/** Whether certificates on both ends are in force, as far as is known. */
export function certificateStep(path: Path): Step {
  const { seen, first } = path
  const { cluster: home } = seen.view.home
  const ends = seen.issuingEnds
  const clusters = [...new Set([home, ...first])]
  const ended = clusters.find((cluster) => (ends?.get(cluster) ?? Number.POSITIVE_INFINITY) <= seen.now)
  if (ended !== undefined) {
    const at = new Date(ends?.get(ended) ?? 0).toISOString()
    return bad('certificate', {
      saw: `the issuing CA of ${ended} ended at ${at}: nothing new is certified there`,
      fix: `mend the line from the relay of ${ended} to the centre; it renews by itself then: isthmus status`,
      at: aboutCluster(ended),
    })
  }
  const refused = refusalOf(path, certificateReasons)
  if (refused)
    return bad('certificate', {
      saw: `the handshake with ${refused.peer} was refused: ${refused.cause}`,
      fix: `see which rule fails: isthmus trust verify ${refused.peer}; and look at the clocks of both clusters`,
      at: `gateway ${refused.peer}`,
    })
  const unknown = clusters.filter((cluster) => !ends?.has(cluster))
  const known = clusters.filter((cluster) => ends?.has(cluster))
  const text = `the issuing CA of ${someOf(known)} is in force`
  if (unknown.length === 0) return good('certificate', text)
  const rest = `of that of ${someOf(unknown)} ${seen.relay ? 'the centre knows' : 'no relay has told'}`
  return unsure('certificate', known.length > 0 ? `${text}; ${rest}` : rest)
}
