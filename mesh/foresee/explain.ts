import { isIP } from 'node:net'
import { healthStep } from '#mesh/foresee/health-step.ts'
import { type Meant, meantBy } from '#mesh/foresee/meant-name.ts'
import { consumerStep, exportStep, nameStep, type Offered, offersAtCentre } from '#mesh/foresee/offered.ts'
import { policyStep, tierStep } from '#mesh/foresee/order.ts'
import { type AskedCall, bad, good, type Path, unsure } from '#mesh/foresee/path.ts'
import { proxyStep } from '#mesh/foresee/proxy-step.ts'
import { gatewayStep, roadStep } from '#mesh/foresee/road-steps.ts'
import type { Seen } from '#mesh/foresee/seen.ts'
import { certificateStep, identityStep } from '#mesh/foresee/trust-steps.ts'
import { type Explanation, firstFailing, type Step } from '#mesh/model/explanation.ts'
import { type Callable, callablesOf, type Road } from '#mesh/translate/callable.ts'
import { createMemo, type Memo } from '#mesh/translate/memo.ts'
import { offersOf } from '#mesh/translate/offers.ts'
import { ownPodsOf } from '#mesh/translate/own-pods.ts'
import { firstTierOf, shareMin } from '#mesh/translate/shares.ts'
import { spreadOf } from '#mesh/translate/tiers.ts'
import { trustedView } from '#mesh/translate/trusted-view.ts'

/**
 * The path of one call, step by step, as one who knows what `seen` holds sees it. It ends where it cannot be followed: at a
 * name that means nothing, or that nobody may be called by. A step is `false` where it is not as the call needs it, or not
 * as its policy means it though another cluster answers in its place (`lands` says which).
 *
 * Nothing is sent: all of it is what is known already. Never throws.
 */
export function explain(seen: Seen, asked: AskedCall): Explanation {
  const meant = meantBy(asked.host, asked.caller.namespace, seen.view)
  const about = {
    ...{ by: seen.relay ? ('relay' as const) : ('centre' as const), caller: asked.caller, host: asked.host },
    ...(asked.port === undefined ? {} : { port: asked.port }),
    ...(seen.revision === undefined ? {} : { revision: seen.revision }),
    ...(seen.answers === undefined ? {} : { answers: seen.answers }),
  }
  if (typeof meant === 'string' && !seen.relay && isIP(asked.host) !== 0)
    return {
      ...about,
      steps: [unsure('name', "only the caller's relay knows the addresses of Services")],
      via: [],
      lands: [],
    }
  if (typeof meant === 'string') {
    const fix = 'call <service>.<namespace>, <service>.<namespace>.svc.cluster.local or ….svc.clusterset.local'
    return {
      ...about,
      steps: [bad('name', { saw: meant, fix, at: `host ${asked.host.slice(0, 253)}` })],
      via: [],
      lands: [],
    }
  }
  const memo = createMemo()
  const { steps, called } = offeredSteps(seen, asked, { meant, memo })
  const known = { ...about, service: meant.key, ...(called ? { port: called.port.port } : {}) }
  if (!called) return { ...known, steps, via: [], lands: [] }
  const path = called.road && pathOf(seen, asked, { meant, memo, callable: called, road: called.road })
  const more = path ? roadSteps(path) : ownSteps(seen, called)
  return {
    ...known,
    steps: [...steps, ...more, proxyStep(seen, asked.caller, called)],
    via: path ? path.first.toSorted() : [],
    lands: path ? landsOf(path) : [{ cluster: seen.view.home.cluster, share: 1 }],
  }
}

type Named = { readonly meant: Meant; readonly memo: Memo }

/** The first steps, to the first that fails; `called` is there where none did. */
function offeredSteps(
  seen: Seen,
  { port, caller }: AskedCall,
  { meant, memo }: Named,
): { readonly steps: readonly Step[]; readonly called?: Callable } {
  const named = callablesOf(seen.view, memo).filter(({ names }) => names.includes(meant.name))
  const offered: Offered = { seen, meant, named, port, namespace: caller.namespace, ...offersAtCentre(seen, meant.key) }
  const steps: Step[] = []
  for (const step of [nameStep, exportStep, consumerStep]) {
    steps.push(step(offered))
    if (firstFailing(steps)) return { steps }
  }
  const called = named.find((one) => port === undefined || one.port.port === port)
  return called ? { steps, called } : { steps }
}

function pathOf(
  seen: Seen,
  { caller }: AskedCall,
  { meant, memo, callable, road }: Named & { readonly callable: Callable; readonly road: Road },
): Path {
  const view = trustedView(seen.view, memo)
  const left =
    view === seen.view
      ? callable
      : callablesOf(view, createMemo()).find(
          ({ names, port }) => names.includes(meant.name) && port.port === callable.port.port,
        )
  const reached = new Set<string>(road.sources.map(({ cluster }) => cluster))
  const compiled = firstTierOf(road.imported).filter((cluster) => reached.has(cluster))
  const [tier] = road.tiers
  const first = compiled.length > 0 ? compiled : (tier?.members.map(({ cluster }) => cluster) ?? [])
  const trusted = new Set<string>(left?.road?.sources.map(({ cluster }) => cluster))
  return {
    ...{ seen, caller, meant, callable, road, port: callable.port, imported: road.imported },
    trusted: { view, road: left?.road },
    first,
    live: first.filter((cluster) => trusted.has(cluster)),
    offers: offersOf(seen.view, road, callable.port),
  }
}

const roadSteps = (path: Path): readonly Step[] =>
  [policyStep, tierStep, healthStep, roadStep, gatewayStep, identityStep, certificateStep].map((step) => step(path))

/** Of a Service of the own cluster alone. */
function ownSteps(seen: Seen, { key, port }: Callable): readonly Step[] {
  const pods = ownPodsOf(seen.view, key, port)
  const ready = pods.filter(({ endpoint }) => endpoint.health === 'ready').length
  const { cluster } = seen.view.home
  if (!seen.relay) return [unsure('health', `only the relay of ${cluster} knows the pods behind it`)]
  if (ready > 0) return [good('health', `ready: ${ready} of ${pods.length} pods in ${cluster}`)]
  const look = 'look at its pods, and at the selector of the Service'
  return [bad('health', { saw: `0 of ${pods.length} pods of ${key} are ready`, fix: look, at: `service ${key}` })]
}

/** As the proxies are told: without whom nobody trusts. */
function landsOf({ trusted, port }: Path): Explanation['lands'] {
  if (!trusted.road) return []
  const [first = []] = spreadOf(trusted.view, trusted.road, port).priorities
  return first.filter(({ share }) => share >= shareMin).map(({ cluster, share }) => ({ cluster, share }))
}
