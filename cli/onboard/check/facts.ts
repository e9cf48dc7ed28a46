import { Problem } from '#mesh/model/problem.ts'

/** What was found out, or why it was not: unknown is not empty. */
export type Known<T> = { readonly value: T } | { readonly unknown: string }

/** What is not known for a reason that is told; a fault of ours is thrown. */
export async function known<T>(read: () => Promise<T>): Promise<Known<T>> {
  try {
    return { value: await read() }
  } catch (error) {
    if (error instanceof Problem) return { unknown: error.message }
    throw error
  }
}

export const later = { unknown: 'not looked at before a join' } as const

/** What ends the text of a Deployment that is a relay of ours elsewhere than it should be. */
export const anotherRelay = ': another relay'

export type NodeFact = {
  readonly name: string
  readonly ready: boolean
  readonly region: string
  readonly zone: string
  /** Empty where it is not said. */
  readonly architecture: string
  readonly podCidrs: readonly string[]
  readonly addresses: readonly string[]
}

export type DefinitionFact = {
  /** `serviceexports.multicluster.x-k8s.io` */
  readonly name: string
  /** Served. */
  readonly versions: readonly string[]
  readonly established: boolean
  readonly ours: boolean
}

export type RolloutFact = {
  readonly ready: number
  readonly wanted: number
  readonly isDone: boolean
  readonly why?: string
  readonly mend?: string
}

/** An installation: what its settings say and how its parts stand. */
export type InstalledFact = {
  readonly cluster: string
  readonly network: string
  readonly clusterSetCidr?: string
  readonly relay: RolloutFact
  readonly gateway: RolloutFact
  /** What the relay's service account lacks of what it is shipped with. */
  readonly missingRules: Known<readonly string[]>
  readonly hasJoinToken: Known<boolean>
  /** Addresses of its gateway's Service; empty where it has none (yet). */
  readonly addresses: readonly string[]
  readonly lease: Known<{ readonly holder: string; readonly renewedAt: number } | undefined>
  /** Of pods of the relay that run. */
  readonly relayPods: readonly string[]
  readonly relayIp?: string
}

export type PortFact = {
  readonly port: number
  readonly name: string
  readonly protocol: string
  readonly declared: boolean
}

/** A service that a ServiceExport of this cluster names. */
export type ExportFact = {
  /** `<namespace>/<name>` */
  readonly service: string
  readonly exists: boolean
  readonly ready: number
  readonly ports: readonly PortFact[]
  /** Ready pods that are not meshed. */
  readonly unmeshed: readonly string[]
  /** PERMISSIVE or DISABLE where a PeerAuthentication of its namespace says so. */
  readonly permissive: boolean
  /** Conditions that say it is not well: `Valid: …`. */
  readonly faults: readonly string[]
}

export type ImportFact = { readonly service: string; readonly sources: readonly string[] }

export type MemberFact = {
  readonly name: string
  readonly state: string
  readonly network: string
  readonly relayVersion: string
  readonly lastSeenAt?: number
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly message: string }[]
}

export type GatewayFact = {
  readonly cluster: string
  readonly address: string
  readonly port: number
  readonly state: string
}

/** How a cluster's trust stands, as the centre knows it. */
export type TrustFact = {
  readonly cluster: string
  readonly issuing?: { readonly standing: string; readonly notAfter: string }
  readonly bundle?: {
    readonly behind: boolean
    readonly acked: number
    readonly proxies: number
    readonly missing: readonly string[]
    readonly fault?: string
  }
}

/** What another member's relay makes of this cluster's gateways. */
export type SightFact = {
  readonly from: string
  readonly down: readonly string[]
  readonly phase: string
}

export type CheckFacts = {
  /** Of this machine, Unix ms. */
  readonly now: number
  /** How the cluster is called on the command line: `context paris`. */
  readonly said: string
  /** Of this command. */
  readonly version: string
  readonly kube: {
    readonly version: Known<{ readonly text: string; readonly major: number; readonly minor: number }>
    /** How far its clock is before this machine's. */
    readonly aheadMs: Known<number>
    readonly missingRights: Known<readonly string[]>
    readonly issuer: Known<{ readonly issuer: string; readonly keys: number }>
    readonly nodes: Known<readonly NodeFact[]>
    readonly definitions: Known<readonly DefinitionFact[]>
    /** Deployments that do what ours do: `<namespace>/<name>: what`. */
    readonly others: Known<readonly string[]>
    readonly serviceCidrs: Known<readonly string[]>
    readonly namespaces: Known<readonly string[]>
    /** What CoreDNS is told, all of it. */
    readonly corefile: Known<string>
    readonly installed: Known<InstalledFact | undefined>
    readonly exports: Known<readonly ExportFact[]>
    /** Services of this cluster that it does not export, `<namespace>/<name>`. */
    readonly unexported: Known<readonly string[]>
  }
  readonly centre: {
    readonly health: Known<{ readonly version: string; readonly aheadMs: number }>
    readonly members: Known<readonly MemberFact[]>
    readonly gateways: Known<readonly GatewayFact[]>
    readonly trust: Known<readonly TrustFact[]>
    readonly imports: Known<readonly ImportFact[]>
  }
  /** Of members whose relays the context names. */
  readonly sights: Known<readonly SightFact[]>
}
