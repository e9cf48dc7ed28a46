import { age, harmless, table } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import { foreignTable } from '#cli/trust/foreign-text.ts'
import { rotationText } from '#cli/trust/rotation-text.ts'
import type { Authority, ClusterTrust, Trust } from '#cli/trust/shapes.ts'

/** What a person reads: the bundle in force, every authority with what stands under it, rotations, what is shut out. */
export function trustText(trust: Trust, now: number, paint: Paint = plain): string {
  const { bundle, authorities, clusters, foreign, revoked, rotations } = trust
  const taken = clusters.filter((one) => bundle && one.bundle && one.bundle.seq >= bundle.seq && isWhole(one)).length
  const head = bundle
    ? `bundle ${bundle.seq} ${bundle.digest.slice(0, 12)}, ${age(bundle.at, now)} old, taken by ${taken} of ${clusters.length} clusters\n`
    : 'no bundle is published yet\n'
  const roots = authorities.filter(({ kind }) => kind === 'root')
  const others = authorities.filter(({ kind }) => kind !== 'root')
  const running = rotations.filter(({ state }) => state === 'running')
  return [
    head,
    modeLine(trust, paint),
    ...roots.flatMap((one) => [`\n${authorityLine(one, now, paint)}`, under(one, clusters, now)]),
    withoutCa(clusters, roots),
    ...others.map((one) => `\n${authorityLine(one, now, paint)}`),
    clusters.length === 0 ? '' : `\n${table([heading, ...clusters.map((one) => clusterLine(one, trust, now))], paint)}`,
    ...clusters.flatMap((one) => missingOf(one)),
    ...running.map((one) => `\n${rotationText(one, now, paint)}`),
    revoked.length === 0 ? '' : `\n${table([revokedHeading, ...revoked.map((one) => revokedLine(one, now))], paint)}`,
    foreign.length === 0 ? '' : `\n${foreignTable(foreign, now, paint)}`,
  ].join('')
}

/** Nothing where every cluster is confined. */
function modeLine({ mode, clusters }: Trust, paint: Paint): string {
  const loose = clusters.filter(({ confined }) => !confined).length
  const began = mode?.trustDomain ? [`clusters share the trust domain ${harmless(mode.trustDomain)}`] : []
  const warning = paint('slow', `${loose} of ${clusters.length} clusters are UNCONFINED`)
  const why = 'the issuing CA of each can speak for every identity of its trust domain'
  const said = [...began, ...(loose === 0 ? [] : [`${warning}: ${why}`])]
  return said.length === 0 ? '' : `${said.join('; ')}\n`
}

const heading = ['CLUSTER', 'TRUST DOMAIN', 'STATE', 'CONFINED', 'ISSUING CA ENDS', 'BUNDLE', 'PROXIES']

function clusterLine(one: ClusterTrust, { bundle }: Trust, now: number): string[] {
  const { cluster, trustDomain, state, issuing, bundle: held } = one
  const seq = held ? `${held.seq}${bundle && held.seq < bundle.seq ? ` of ${bundle.seq}` : ''}` : '–'
  return [
    ...[cluster, trustDomain, state, confinement(one), issuing ? endsIn(issuing.notAfter, now) : '–'],
    ...[seq, held ? `${held.acked} of ${held.proxies}` : '–'],
  ]
}

function confinement({ confined, claims }: ClusterTrust): string {
  if (confined) return 'yes'
  return claims ? `UNCONFINED: can claim ${claims.identities} identities of ${claims.clusters} clusters` : 'UNCONFINED'
}

const isWhole = ({ bundle }: ClusterTrust): boolean => bundle?.acked === bundle?.proxies && bundle?.missing.length === 0

/** What is wrong with a cluster's word: it is old, its relay refused the bundle, proxies have not acknowledged it. */
function missingOf({ cluster, bundle, silent }: ClusterTrust): string[] {
  const { fault, missing = [] } = bundle ?? {}
  const lines = [
    ...(silent ? [silent] : []),
    ...(fault ? [`its relay refuses the bundle: ${fault.detail}`] : []),
    ...missing,
  ]
  return lines.map((line) => `  ${harmless(`${cluster}  ${line}`)}\n`)
}

const authorityLine = (one: Authority, now: number, paint: Paint): string => {
  const tone = one.state === 'active' ? 'good' : one.state === 'revoked' ? 'bad' : 'slow'
  const key = `${one.keyKind} in ${one.signer === 'kms' ? 'KMS' : 'a sealed file'}`
  const state = `${paint(tone, one.state)}${one.stateAt ? ` for ${age(one.stateAt, now)}` : ''}`
  const issued = one.issuedUnder === undefined ? '' : `, ${one.issuedUnder} certificates under it`
  return `${one.kind} ${one.number}  ${state}, ${key}, ends ${endsIn(one.notAfter, now)}${issued}, ${one.sha256.slice(0, 12)}\n`
}

/** The issuing CAs that a root signed. */
function under(root: Authority, clusters: readonly ClusterTrust[], now: number): string {
  const own = clusters.filter(({ issuing }) => issuing?.root === root.sha256)
  return own
    .map(({ cluster, trustDomain, issuing }, n) => {
      const twig = n === own.length - 1 ? '└─' : '├─'
      return harmless(`${twig} issuing CA of ${cluster}, for ${trustDomain}, ends ${endsIn(issuing?.notAfter, now)}`)
    })
    .map((line) => `${line}\n`)
    .join('')
}

/** Members whose issuing CA is of no root that is known here, or not known at all. */
function withoutCa(clusters: readonly ClusterTrust[], roots: readonly Authority[]): string {
  const lost = clusters.filter(({ issuing }) => !roots.some(({ sha256 }) => sha256 === issuing?.root))
  return lost.length === 0
    ? ''
    : `issuing CA not known of: ${harmless(lost.map(({ cluster }) => cluster).join(', '))}\n`
}

const revokedHeading = ['REVOCATION', 'REVOKED', 'SUBJECT', 'TRUST DOMAIN', 'AGE', 'REASON']
const revokedLine = ({ cut, kind, subject, trustDomain, at, reason }: Trust['revoked'][number], now: number) => [
  ...[String(cut), kind, subject, trustDomain, age(at, now), reason],
]

/** `in 23 d`, or that it is over. */
export function endsIn(at: string | undefined, now: number): string {
  const end = Date.parse(at ?? '')
  if (!Number.isFinite(end)) return '–'
  return end <= now ? `${age(end, now)} ago` : `in ${age(now, end)}`
}
