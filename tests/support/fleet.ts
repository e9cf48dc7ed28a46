import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type ClusterPlan, relayPort } from '#infra/local/plan.ts'
import { type FleetCentre, fleetCentre } from '#tests/support/fleet-centre.ts'
import { type FleetCluster, startFleetCluster } from '#tests/support/fleet-cluster.ts'
import type { PodSpec } from '#tests/support/fleet-manifests.ts'
import { tailOf } from '#tests/support/fleet-program.ts'
import { envoyPath, programPath } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

export type ClusterSpec = {
  readonly region?: string
  /** Its own where absent. */
  readonly network?: string
  /** One where absent. */
  readonly gateways?: number
  readonly pods: Readonly<Record<string, PodSpec>>
  /** Services beside those of the apps' own names, by name: other doors to the same pods. */
  readonly services?: Readonly<Record<string, Pick<PodSpec, 'app' | 'ports'>>>
  /** App → consumers as the annotation has them; '*' = everybody. */
  readonly exports?: Readonly<Record<string, string>>
}

/** Clusters by name, in the order of their addresses. */
export type FleetSpec = Readonly<Record<string, ClusterSpec>>

/** A running federation of real programs: a centre and its clusters, on loopback addresses of their own. */
export type Fleet = {
  /** Where everything of it lies: state, logs, manifests. */
  readonly dir: string
  readonly centre: FleetCentre
  cluster(name: string): FleetCluster
  /** The last lines of every log. */
  tails(): string
  /** SIGKILL of everything, and the directory away. Never throws. */
  end(): Promise<void>
}

/** Everything up and every pod ready; what went wrong ends what had started and is thrown with the logs' last lines. */
export async function startFleet(spec: FleetSpec): Promise<Fleet> {
  const [centreProgram, relay, proxy, envoy] = await Promise.all([
    programPath('centre'),
    programPath('relay'),
    programPath('proxy'),
    envoyPath(),
  ])
  sweepLeftOvers()
  const dir = mkdtempSync(join(tmpdir(), `isthmus-e2e-${process.pid}-`))
  const logDir = join(dir, 'logs')
  const apps = [...new Set(Object.values(spec).flatMap(({ pods }) => Object.values(pods).map(({ app }) => app)))].sort()
  const { octet, release } = await takeOctet(Object.keys(spec).length)
  const plans = plansOf(spec, dir, octet)
  const centre = fleetCentre({
    ...{ program: centreProgram, port: await freePort() },
    ...{ dir: join(dir, 'centre'), log: join(logDir, 'centre.log') },
  })
  const clusters = new Map<string, FleetCluster>()
  const fleet: Fleet = {
    dir,
    centre,
    cluster: (name) => {
      const one = clusters.get(name)
      if (!one) throw new Error(`there is no cluster "${name}", but ${[...clusters.keys()].join(', ')}`)
      return one
    },
    tails: () => tailsOf(logDir),
    end: async () => {
      await Promise.allSettled([centre.kill(), ...[...clusters.values()].map((cluster) => cluster.kill())])
      release()
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
  try {
    await centre.start()
    await Promise.all(plans.map((one) => bringUp(one)))
    return fleet
  } catch (cause) {
    const tails = fleet.tails()
    await fleet.end()
    throw new Error(`the fleet did not come up: ${cause instanceof Error ? cause.message : cause}\n${tails}`, { cause })
  }

  async function bringUp(one: ClusterPlan): Promise<void> {
    const { pods = {}, services = {}, exports = {}, gateways = 1 } = spec[one.name] ?? {}
    const cluster = await startFleetCluster({
      ...{ plan: one, apps, centre, envoy, gateways, programs: { relay, proxy } },
      ...{ runDir: join(dir, 'run', one.name), logDir: join(logDir, one.name) },
    })
    clusters.set(one.name, cluster)
    for (const [service, { app, ports }] of Object.entries(services)) cluster.serve(app, ports, service)
    for (const [app, consumers] of Object.entries(exports))
      cluster.export(app, consumers === '*' ? undefined : consumers)
    await Promise.all(Object.entries(pods).map(([name, pod]) => cluster.addPod(name, pod)))
    for (const gateway of cluster.gateways)
      await eventually(30_000, `the gateways of ${one.name} are ready`, () => gateway.ready())
  }
}

/** Directories of runs that were killed before they could clean up; their programs died with them. */
function sweepLeftOvers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^isthmus-e2e-(\d+)-/.exec(name)?.[1]
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

/** One fleet for all tests of a file. A failed test prints the last lines of every log, once. */
export function useFleet(spec: FleetSpec): () => Fleet {
  let fleet: Fleet | undefined
  let told = false
  beforeAll(async () => {
    fleet = await startFleet(spec)
  })
  afterEach(({ task }) => {
    if (task.result?.state !== 'fail' || told || !fleet) return
    told = true
    process.stderr.write(`${fleet.tails()}\n`)
  })
  afterAll(async () => {
    await fleet?.end()
  })
  return () => {
    if (!fleet) throw new Error('the fleet is not up')
    return fleet
  }
}

const plansOf = (spec: FleetSpec, dir: string, octet: number): ClusterPlan[] =>
  Object.entries(spec).map(([name, { region = 'eu-west-1', network = name }], n) => ({
    ...{ name, region, zone: `${region}a`, network, octet: octet + n, dir: join(dir, 'clusters', name), pods: [] },
  }))

/** Below the ports that the kernel hands out for outgoing connections, so that it is still free after a restart. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const look = await listening('127.0.0.1', port)
    look?.close()
    if (look) return port
  }
}

/**
 * The first octet of a block of addresses that nobody uses, ours until `release` or the end of this process: programs bind
 * theirs one after another, and a fleet that starts beside this one must not take it meanwhile.
 */
async function takeOctet(clusters: number): Promise<{ readonly octet: number; readonly release: () => void }> {
  for (let octet = 60; octet + clusters < 250; octet += 5) {
    const claims = await Promise.all(
      Array.from({ length: clusters }, async (_, n) => [
        await listening(`127.${octet + n}.0.254`),
        await listening(`127.${octet + n}.0.1`),
      ]),
    )
    const [kept, looked] = [claims.map(([claim]) => claim), claims.map(([, look]) => look)]
    for (const look of looked) look?.close()
    const release = () => {
      for (const claim of kept) claim?.close()
    }
    if ([...kept, ...looked].every((one) => one !== undefined)) return { octet, release }
    release()
  }
  throw new Error('no block of loopback addresses is free: other fleets run on all of 127.60 to 127.250')
}

function listening(host: string, port = relayPort): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ host, port }, () => resolve(server.unref()))
  })
}

const tailsOf = (logDir: string): string =>
  existsSync(logDir)
    ? readdirSync(logDir, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.log'))
        .sort()
        .map((file) => `── ${file}\n${tailOf(join(logDir, file), 12)}`)
        .join('\n')
    : ''
