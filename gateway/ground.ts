import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { CertificateParts } from '#gateway/certificates.ts'
import { fileJwks } from '#gateway/identity/jwks.ts'
import type { ProxyDoor, ProxyDoorParts } from '#gateway/proxy-door.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import type { TrustKeeper } from '#gateway/trust-keeper.ts'
import type { Uplink } from '#gateway/uplink/uplink.ts'
import { directoryWatch } from '#gateway/watch/directory-watch.ts'
import type { ClusterWatch } from '#gateway/watch/watch.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Shift } from '#mesh/model/traffic.ts'
import type { Home, View } from '#mesh/model/view.ts'

export type GroundParts = {
  readonly dir: string
  readonly stateDir: string
  readonly settings: RelaySettings
  readonly home: Home
  readonly log: Logger
}

/** What a relay stands on: a directory of YAML that is its alone, or a Kubernetes cluster in which it is one of some replicas. */
export type Ground = {
  readonly watch: ClusterWatch
  readonly tokens: ProxyDoorParts['tokens']
  readonly replicas?: ProxyDoorParts['replicas']
  readonly sharing?: CertificateParts['sharing']
  /** Whether this is the relay that reports and writes. */
  leads(): boolean
  /** The relay serves. */
  start(served: Standing): void
  /** The cluster's objects are others, or what the centre says of it. */
  changed(): void
  /** Its callers moved. */
  shifted(): void
  conditions(): readonly Condition[]
  /** For status. */
  facts(): object
  stop(): void
}

/** What of a serving relay its ground needs. */
export type Standing = {
  readonly line: Pick<Uplink, 'takeOver'>
  readonly door: Pick<ProxyDoor, 'clients' | 'cut'>
  readonly trust: Pick<TrustKeeper, 'controlPlane'>
  readonly view: () => View
  /** What the relay found about its own services. */
  readonly remarks: () => readonly Condition[]
  /** The last moves of its callers. */
  readonly shifts: () => readonly Shift[]
}

export function directoryGround({ dir, settings, home, log }: GroundParts): Ground {
  const { issuer = '', jwks = 'jwks.json' } = settings.tokens
  return {
    watch: directoryWatch({ dir: resolve(dir, settings.manifests), home, log }),
    tokens: { issuer, keys: fileJwks(resolve(dir, jwks)) },
    leads: () => true,
    start: () => undefined,
    changed: () => undefined,
    shifted: () => undefined,
    conditions: () => [],
    facts: () => ({}),
    stop: () => undefined,
  }
}
