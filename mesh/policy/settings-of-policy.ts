import type { CompiledPolicy, CompiledProbe, TrafficSettings } from '#mesh/model/cluster-config.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import { policyName, type TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { defaultSettings } from '#mesh/policy/default-tiers.ts'
import { probedPort, probeEverySeconds } from '#mesh/policy/probe-port.ts'

/** What a policy asks for where it says nothing about a return. */
export const defaultFailback = { holdSeconds: 60, rampSeconds: 300 } as const

/**
 * The settings that a policy asks for, all of them. A tier that keeps everything down to a part p of its health has the
 * overprovisioning factor 100/p, in percent: Envoy spills what is beyond health × factor.
 * Source: Envoy, priority levels, "overprovisioning factor".
 */
export function settingsOf({ spec }: Pick<TrafficPolicy, 'spec'>): TrafficSettings {
  const { keepUntilPercent, retries, timeouts, ejection } = spec
  return {
    overprovisioningFactor:
      keepUntilPercent === undefined ? defaultSettings.overprovisioningFactor : Math.ceil(10_000 / keepUntilPercent),
    ejectAfterFailures: ejection?.afterFailures ?? defaultSettings.ejectAfterFailures,
    retries: retries?.attempts ?? defaultSettings.retries,
    connectTimeoutMs: msOf(timeouts?.connectSeconds) ?? defaultSettings.connectTimeoutMs,
  }
}

/** What a policy says beyond tiers and settings, for a service with these ports. */
export function compiledPolicy(
  policy: TrafficPolicy,
  { tierOf, ports }: { readonly tierOf: readonly number[]; readonly ports: readonly ServicePort[] },
): CompiledPolicy {
  const { retries, timeouts, ejection, failback, connections, onExporterLost } = policy.spec
  const asked = {
    perTryMs: msOf(retries?.perTrySeconds),
    requestMs: msOf(timeouts?.requestSeconds),
    baseEjectionMs: msOf(ejection?.baseSeconds),
    maxEjectionMs: msOf(ejection?.maxSeconds),
    connectionMaxMs: msOf(connections?.maxSeconds),
    probe: compiledProbe(policy, ports),
  }
  return {
    name: `${policyName(policy)}@${policy.revision}`,
    holdSeconds: failback?.holdSeconds ?? defaultFailback.holdSeconds,
    rampSeconds: failback?.rampSeconds ?? defaultFailback.rampSeconds,
    onExporterLost: onExporterLost ?? 'keep',
    ...(retries?.idempotent ? { idempotent: true as const } : {}),
    ...withoutAbsent(asked),
    spillByReadiness: true,
    tierOf,
  }
}

/** Absent where the service has no port that it could ask: what is a default for many may not suit each. */
function compiledProbe(
  { spec: { probe } }: Pick<TrafficPolicy, 'spec'>,
  ports: readonly ServicePort[],
): CompiledProbe | undefined {
  const port = probe && probedPort(probe, ports)
  if (!probe || !port) return undefined
  const path = probe.kind === 'http' ? { path: probe.path ?? '/' } : {}
  return {
    ...{ kind: probe.kind, port: port.port, ...path },
    everyMs: Math.round((probe.everySeconds ?? probeEverySeconds) * 1000),
  }
}

const msOf = (seconds: number | undefined): number | undefined =>
  seconds === undefined ? undefined : Math.max(1, Math.round(seconds * 1000))

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }
const withoutAbsent = <T extends object>(fields: T): Present<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>
