import { addressKey } from '#mesh/model/address.ts'
import { type ClusterName, parseClusterName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

export const drainKinds = ['cluster', 'gateway', 'service'] as const
export type DrainKind = (typeof drainKinds)[number]

/**
 * `ramping`: callers are led away by steps; `closing`: nobody is sent there and what is still open is being ended;
 * `proving`: it is being measured that nothing is left; `done`: nothing is; `stopped`: callers failed more than before, so
 * its share stays where it is; `returning`: it is being undone; `undone`: over.
 */
export type DrainState = 'ramping' | 'closing' | 'proving' | 'done' | 'stopped' | 'returning' | 'undone'

/** What is led out of traffic: a cluster, one of its gateways (by its `addressKey`), or one service there. */
export type DrainSubject =
  | { readonly kind: 'cluster'; readonly cluster: ClusterName }
  | { readonly kind: 'gateway'; readonly cluster: ClusterName; readonly gateway: string }
  | { readonly kind: 'service'; readonly cluster: ClusterName; readonly service: ServiceKey }

/** `ireland-1`, `ireland-1/10.0.0.1:15443`, `ireland-1/bookinfo/reviews`: how a person names it, and how it is stored. */
export function drainSubjectText(subject: DrainSubject): string {
  if (subject.kind === 'cluster') return subject.cluster
  return `${subject.cluster}/${subject.kind === 'gateway' ? subject.gateway : subject.service}`
}

/** Throws `invalid` with the form that is meant. */
export function parseDrainSubject(kind: DrainKind, text: string): DrainSubject {
  const at = text.indexOf('/')
  const cluster = parseClusterName(at < 0 ? text : text.slice(0, at))
  const rest = at < 0 ? '' : text.slice(at + 1)
  if (kind === 'cluster') {
    if (at >= 0) throw wrong(text, '<cluster>')
    return { kind, cluster }
  }
  if (kind === 'service') {
    const [namespace = '', name = '', more] = rest.split('/')
    if (namespace === '' || name === '' || more !== undefined) throw wrong(text, '<cluster>/<namespace>/<service>')
    return { kind, cluster, service: serviceKey(namespace, name) }
  }
  const found = /^\[?([^\]/]+)\]?:(\d{1,5})$/.exec(rest)
  const [, address = '', port = ''] = found ?? []
  if (!found || Number(port) < 1 || Number(port) > 65_535) throw wrong(text, '<cluster>/<address>:<port>')
  return { kind, cluster, gateway: addressKey({ address, port: Number(port) }) }
}

function wrong(text: string, form: string): Problem {
  const reason = `"${text.slice(0, 100)}" is not of the form ${form}`
  return new Problem('invalid', `subject: ${reason}`, { violations: [{ path: 'subject', reason }] })
}

/** Percentages of the nominal share that a ramp goes through. A gateway loses no pod with it: its mates take all at once. */
export const rampOf = (kind: DrainKind): readonly number[] => (kind === 'gateway' ? [0] : [75, 50, 25, 10, 0])
