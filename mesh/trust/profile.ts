import type { ExtendedUsage, KeyUsage } from '#mesh/trust/oid.ts'
import type { KeyKind } from '#mesh/trust/public-key.ts'

const minutes = 60
const days = 24 * 60 * minutes
const years = 365 * days

/** Everything is back-dated by this much: no validator forgives a clock that runs behind (measured). */
export const backdateSeconds = 5 * minutes

/** One row of the table: what a certificate of this kind must contain. Nothing outside its row may be in it. */
export type Profile = {
  readonly issuedBy: 'self' | 'root' | 'issuing-ca' | 'control-plane-ca'
  readonly keys: readonly KeyKind[]
  /** Authorities only: how many authorities may stand below. */
  readonly pathLen?: number
  readonly usage: readonly KeyUsage[]
  readonly extendedUsage: readonly ExtendedUsage[]
  /** `named`: organization and common name. `empty`: the names are all in subjectAltName, which is then critical. */
  readonly subject: 'named' | 'empty'
  /** The URI names: none, the bare trust domain, one workload's id, or a workload's id that may be absent. */
  readonly uri: 'none' | 'trust-domain' | 'workload'
  /** Whether it also carries DNS names or addresses that clients dial: at least one, or none at all. */
  readonly hosts: boolean
  /** Whether it carries the critical name constraints that shut it into its own trust domain. */
  readonly confined: boolean
  /** DNS names that one which is confined lets through beside: all below this domain. */
  readonly hostsBelow?: string
  readonly lifeSecondsMax: number
}

const authority = { usage: ['keyCertSign', 'cRLSign'], extendedUsage: [], hosts: false } as const
const leaf = { usage: ['digitalSignature'], subject: 'empty', confined: false } as const
const both = ['serverAuth', 'clientAuth'] as const
const anyKey = ['P-256', 'P-384', 'RSA'] as const
const ownKey = ['P-256', 'P-384'] as const

/**
 * The table. Sources: RFC 5280, the SPIFFE X.509-SVID standard, and what Envoy, OpenSSL and Go were measured to refuse.
 *
 * Only a cluster's issuing CA is confined, and its key is P-256: on P-384 it would double each handshake. A workload's key
 * may be RSA because Istio's agents send that. Serving certificates come from an authority of their own, so that no
 * cluster's CA can speak for a control plane and DNS names can stay shut in every cluster.
 */
export const profiles = {
  root: {
    ...authority,
    issuedBy: 'self',
    keys: ownKey,
    pathLen: 1,
    subject: 'named',
    uri: 'none',
    confined: false,
    lifeSecondsMax: 10 * years,
  },
  'issuing-ca': {
    ...authority,
    issuedBy: 'root',
    keys: ['P-256'],
    pathLen: 0,
    extendedUsage: both,
    subject: 'named',
    uri: 'trust-domain',
    confined: true,
    lifeSecondsMax: 30 * days,
  },
  // For an istiod that stays: it certifies itself by its services' names too. Nobody renews it by itself.
  'istiod-ca': {
    ...authority,
    issuedBy: 'root',
    keys: ['P-256'],
    pathLen: 0,
    extendedUsage: both,
    subject: 'named',
    uri: 'trust-domain',
    confined: true,
    hostsBelow: 'istio-system.svc',
    lifeSecondsMax: 365 * days,
  },
  'control-plane-ca': {
    ...authority,
    issuedBy: 'self',
    keys: ownKey,
    pathLen: 0,
    subject: 'named',
    uri: 'none',
    confined: false,
    lifeSecondsMax: 5 * years,
  },
  'relay-serving': {
    ...leaf,
    issuedBy: 'control-plane-ca',
    keys: ownKey,
    extendedUsage: ['serverAuth'],
    uri: 'workload',
    hosts: true,
    lifeSecondsMax: 30 * days,
  },
  'centre-serving': {
    ...leaf,
    issuedBy: 'control-plane-ca',
    keys: ownKey,
    extendedUsage: ['serverAuth'],
    uri: 'none',
    hosts: true,
    lifeSecondsMax: 30 * days,
  },
  workload: {
    ...leaf,
    issuedBy: 'issuing-ca',
    keys: anyKey,
    extendedUsage: both,
    uri: 'workload',
    hosts: false,
    lifeSecondsMax: 1 * days,
  },
  gateway: {
    ...leaf,
    issuedBy: 'issuing-ca',
    keys: anyKey,
    extendedUsage: both,
    uri: 'workload',
    hosts: false,
    lifeSecondsMax: 1 * days,
  },
  'relay-client': {
    ...leaf,
    issuedBy: 'issuing-ca',
    keys: ownKey,
    extendedUsage: ['clientAuth'],
    uri: 'workload',
    hosts: false,
    lifeSecondsMax: 1 * days,
  },
} as const satisfies Record<string, Profile>

export type ProfileName = keyof typeof profiles

/** A row, with its type widened to what every row has. */
export const profileOf = (name: ProfileName): Profile => profiles[name]
