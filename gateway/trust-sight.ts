import type { Certificates } from '#gateway/certificates.ts'
import type { Issued } from '#gateway/issued.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { AdsClient } from '#gateway/relay/server.ts'
import type { TrustKeeper } from '#gateway/trust-keeper.ts'
import { authoritiesIn, authorityOver } from '#gateway/wanted-authority.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { OwnCluster } from '#mesh/model/view.ts'
import { authorityDigest } from '#mesh/trust/authority-digest.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import { type TrustReport, trustReportLimits } from '#mesh/wire/trust-report.ts'

/** With which bundle each stream was last brought up to date, and when it was opened. */
export type ServedBundles = {
  refreshed(proxy: ConnectedProxy, seq: number): void
  of(proxy: ConnectedProxy): { readonly seq: number; readonly since: number } | undefined
}

export function servedBundles(now: () => number): ServedBundles {
  const known = new WeakMap<ConnectedProxy, { seq: number; readonly since: number }>()
  return {
    refreshed: (proxy, seq) => {
      const before = known.get(proxy)
      if (before) before.seq = seq
      else known.set(proxy, { seq, since: now() })
    },
    of: (proxy) => known.get(proxy),
  }
}

export type TrustSightParts = {
  readonly trustDomain: string
  readonly trust: TrustKeeper
  readonly certificates: Pick<Certificates, 'issuing' | 'serving'>
  readonly issued: Pick<Issued, 'leaves' | 'head' | 'controlPlaneOf'>
  readonly served: Pick<ServedBundles, 'of'>
  /** All that are connected; undefined while the port is closed. */
  readonly clients: () => readonly AdsClient[] | undefined
  readonly own: () => OwnCluster
  readonly cuts: () => TrustReport['cuts']
  readonly now: () => number
}

/** A stream that names no secrets in so long a time has none to acknowledge. */
const settleMs = 5000

/**
 * What of the mesh's trust this cluster has taken up, as the centre is told. A proxy counts as acknowledged when it was
 * brought up to date with the bundle in force and has acknowledged every secret since: a stream that looks in step may
 * only not have been looked at yet. Undefined while the centre never named a bundle.
 */
export function trustReport(parts: TrustSightParts): TrustReport | undefined {
  const { trust, certificates, issued } = parts
  const bundle = trust.bundle()
  const fault = trust.fault()
  if (!bundle && !fault) return undefined
  const { seq, digest } = trust.pin()
  const clients = parts.clients() ?? []
  const names = new Set(clients.map(({ proxy }) => podOf(proxy)))
  const away = readyPods(parts.own()).filter((pod) => !names.has(pod))
  const behind = clients.flatMap((client) => {
    const reason = faultOf(client, seq, parts)
    return reason === undefined ? [] : [`${podOf(client.proxy)}: ${reason}`]
  })
  const missing = [...away.map((pod) => `${pod}: not connected`), ...behind].toSorted()
  const issuing = certificates.issuing.current()
  const root = issuing && authorityOver(issuing, bundle)
  const serving = certificates.serving.current()
  const ca = serving && authorityOver(serving, bundle)
  const proof = fitting(trust.proof())
  const exists = existing(parts.own(), names)
  return {
    ...{ seq, digest, proxies: clients.length + away.length, acked: clients.length - behind.length },
    missing: missing.slice(0, trustReportLimits.missing).map((text) => text.slice(0, trustReportLimits.text)),
    missingCount: missing.length,
    issuing:
      issuing && root
        ? { root: signerOf(root), notAfter: issuing.chain[0].notAfter.getTime(), trustDomain: parts.trustDomain }
        : null,
    serving: serving && ca ? { ca: signerOf(ca), notAfter: serving.chain[0].notAfter.getTime() } : null,
    pinned: trust.pinned().slice(0, trustReportLimits.pinned),
    proxyCas: proxyCasOf(clients, parts),
    leaves: issued.leaves(exists),
    cuts: parts.cuts().slice(0, trustReportLimits.cuts),
    log: issued.head(),
    ...(fault ? { fault: { reason: fault.reason, detail: fault.detail.slice(0, trustReportLimits.text) } } : {}),
    ...(proof ? { proof: proof as NonNullable<TrustReport['proof']> } : {}),
  }
}

/** The report is one item, of at most 64 KiB: a proof that would make it too large is left out, and the fault still said. */
const proofBytesMax = 48 * 1024

function fitting<T>(proof: T | undefined): T | undefined {
  return proof && Buffer.byteLength(JSON.stringify(proof)) <= proofBytesMax ? proof : undefined
}

/** Whether every connected proxy has acknowledged what the bundle in force takes away: routes, secrets, filter chains. */
export function allRefuse(parts: Omit<TrustSightParts, 'cuts'>): boolean {
  const { seq } = parts.trust.pin()
  return (parts.clients() ?? []).every(
    ({ proxy, types: { route, secret, listener } }) =>
      parts.served.of(proxy)?.seq === seq && [route, secret, listener].every((one) => !one || one.state === 'SYNCED'),
  )
}

/** `<namespace>/<pod>` of a stream whose node says `<pod>.<namespace>`. */
function podOf({ name, identity }: ConnectedProxy): string {
  const end = `.${identity.namespace}`
  return `${identity.namespace}/${name.endsWith(end) ? name.slice(0, -end.length) : name}`
}

/** Pods with a proxy that traffic is sent to now: one that is not connected may hold anything. */
const readyPods = (own: OwnCluster): string[] => [...new Set(podsBehind(own, ({ health }) => health === 'ready'))]

/** `<namespace>/<pod>` of the meshed endpoints that `counts` says. */
const podsBehind = ({ endpoints }: OwnCluster, counts: (endpoint: Endpoint) => boolean): string[] =>
  [...endpoints.values()].flatMap((all) =>
    all.flatMap((one) => (one.meshed && one.pod && counts(one) ? [one.pod] : [])),
  )

function existing(own: OwnCluster, connected: ReadonlySet<string>): (pod: string) => boolean {
  const pods = [...own.pods.values()].map(({ namespace, name }) => `${namespace}/${name}`)
  const known = new Set([...pods, ...podsBehind(own, () => true)])
  return (pod) => connected.has(pod) || known.has(pod)
}

/** Why a stream does not count as acknowledged. */
function faultOf(
  { proxy, types }: AdsClient,
  seq: number,
  { served, now }: Pick<TrustSightParts, 'served' | 'now'>,
): string | undefined {
  const last = served.of(proxy)
  const { secret } = types
  if (!last || last.seq !== seq) return 'not acknowledged'
  if (!secret) return now() - last.since < settleMs ? 'not acknowledged' : undefined
  if (secret.state === 'NACK')
    return `refused: ${secret.nack?.detail ?? secret.setAside.map(({ name }) => name).join()}`
  return secret.state === 'SYNCED' ? undefined : 'not acknowledged'
}

/** Only `isthmus proxy` says by which CAs it believes its relay; Istio's agent has them from a ConfigMap. */
function proxyCasOf(clients: readonly AdsClient[], { trust, issued }: TrustSightParts): TrustReport['proxyCas'] {
  const own = clients.filter(({ proxy }) => proxy.metadata['ISTHMUS'] !== undefined)
  const bundle = trust.bundle()
  const wanted = bundle && authorityDigest(authoritiesIn(bundle.controlPlane))
  const current = own.filter(({ proxy }) => wanted !== undefined && issued.controlPlaneOf(podOf(proxy)) === wanted)
  return { all: own.length, current: current.length }
}
