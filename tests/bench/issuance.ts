import { randomBytes, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { create, toBinary } from '@bufbuild/protobuf'
import type { Caller } from '#gateway/grpc/call.ts'
import { certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { openIssued } from '#gateway/issued.ts'
import { IstioCertificateRequestSchema } from '#gen/istio/ca_pb.js'
import type { Asked, Askers } from '#tests/bench/issuance-askers.ts'
import { csrOf, domain, keyInHand, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { startFleet } from '#tests/support/fleet.ts'
import type { FleetCluster } from '#tests/support/fleet-cluster.ts'
import type { RelayCaller } from '#tests/support/workload-identity.ts'
import { honestClaims, jwksInHand, makeTokenIssuer, tokenIssuer } from '#tests/support/workload-tokens.ts'

/** Workload certificates of one relay. Rates are per second of processor time. */
export type Issuance = {
  readonly perCpuSecond: number
  /** Of one ES256 verification and one signature, which no issuer can do without. */
  readonly barePerCpuSecond: number
  /** Our cost by that of the bare work. */
  readonly ratio: number
  /** So many proxies ask at once, on a TLS connection each, and again where they are refused: the last has its chain after `ms`. */
  readonly storm: {
    readonly proxies: number
    readonly ms: number
    /** Of the relay's processor, handshakes and all. */
    readonly relayCpuMs: number
    readonly refusals: number
    readonly failed: number
  }
}

const rounds = 5
const perRound = 1000
const proxies = 1000
const threads = 2

/** The service as the relay has it, without its connections; then a real relay that all proxies ask at once. */
export const measureIssuance = async (): Promise<Issuance> => ({
  ...(await measureService()),
  storm: await measureStorm(),
})

export async function measureService(): Promise<Omit<Issuance, 'storm'>> {
  const ask = await openService()
  const bare = bareWork()
  const ours: number[] = []
  const theirs: number[] = []
  // The first round warms both up.
  for (let round = 0; round <= rounds; round++) {
    const asked = await Promise.all(Array.from({ length: perRound }, (_, n) => ask.prepare(round * perRound + n)))
    const cost = await cpuSeconds(async () => void (await Promise.all(asked.map((one) => one()))))
    const floor = await cpuSeconds(async () => {
      for (let n = 0; n < perRound; n++) bare()
    })
    if (round === 0) continue
    ours.push(cost / perRound)
    theirs.push(floor / perRound)
  }
  ask.close()
  const [cost, floor] = [median(ours), median(theirs)]
  return { perCpuSecond: 1 / cost, barePerCpuSecond: 1 / floor, ratio: cost / floor }
}

/** Requests of pods that never asked before: each has a token, a key and a certificate request of its own. */
async function openService() {
  const root = await makeRoot()
  const issuing = await makeIssuing(root, 'cluster-a')
  const tokens = makeTokenIssuer('bench')
  const clock = () => new Date()
  const certified = {
    signer: issuing.key,
    keyPem: issuing.key.keyPem,
    chain: [issuing.certificate] as const,
    roots: [root.certificate],
  }
  const issuer = createIssuer({
    key: {
      profile: 'issuing-ca',
      current: () => certified,
      earlier: () => [],
      request: () => Promise.reject(new Error('nobody asks')),
      accept: () => Promise.reject(new Error('nobody asks')),
      reload: () => Promise.reject(new Error('nobody asks')),
    },
    trustDomain: domain('cluster-a'),
    clock,
    random: (n) => new Uint8Array(randomBytes(n)),
  })
  const stateDir = mkdtempSync(join(tmpdir(), 'isthmus-issuance-'))
  const issued = openIssued({
    ...{ stateDir, clock, trustDomain: domain('cluster-a'), issuing: { current: () => certified } },
    ...{ wanted: () => ({}), warn: () => undefined, onNews: () => undefined, refusals: { told: () => undefined } },
  })
  const { methods } = certificateService({
    ...{ issuer, clock, cluster: 'cluster-a', checkKey: issued.checkKey, onIssued: issued.onIssued },
    verifyToken: tokenVerifier({ issuer: tokenIssuer, jwks: jwksInHand(tokens), clock }),
    log: { info: () => undefined, warn: () => undefined },
    limits: { inFlightMax: perRound },
  })
  const [method] = Object.values(methods)
  if (method?.kind !== 'unary') throw new Error('the service has no unary method')
  return {
    close: () => {
      issued.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
    prepare: async (n: number): Promise<() => Promise<unknown>> => {
      const claims = honestClaims(clock())
      const pod = { name: `pod-${n}`, uid: `uid-${n}` }
      const token = tokens.token({ 'kubernetes.io': { ...claims['kubernetes.io'], pod } })
      const csr = await csrOf(keyInHand())
      const message = toBinary(IstioCertificateRequestSchema, create(IstioCertificateRequestSchema, { csr }))
      const caller: Caller = {
        address: '127.0.0.1:1',
        certificate: () => undefined,
        values: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      }
      return () => method.answer(message, caller)
    },
  }
}

function bareWork(): () => void {
  const { key, spki } = keyInHand()
  const text = randomBytes(500)
  const signature = sign('sha256', text, key)
  const known = { key: Buffer.from(spki), format: 'der', type: 'spki' } as const
  return () => {
    sign('sha256', text, key)
    if (!verify('sha256', text, known, signature)) throw new Error('the signature is not verified')
  }
}

/** Two threads ask, as a thousand machines would: one alone would have the relay wait for it. */
export async function measureStorm(): Promise<Issuance['storm']> {
  const fleet = await startFleet({ a: { pods: {} } })
  const askers: Worker[] = []
  try {
    const cluster = fleet.cluster('a')
    const callers = Array.from({ length: proxies }, (_, n) => cluster.caller(`sa-${n}`))
    for (let n = 0; n < threads; n++)
      askers.push(
        askersOf(
          cluster,
          callers.filter((_, i) => i % threads === n),
        ),
      )
    await Promise.all(askers.map((asker) => once(asker, 'message')))
    const cpuBefore = cpuMsOf(cluster.relayPid())
    const started = performance.now()
    for (const asker of askers) asker.postMessage('go')
    const asked = (await Promise.all(askers.map((asker) => once(asker, 'message')))).flat() as Asked[]
    const ms = performance.now() - started
    const sum = (key: keyof Asked): number => asked.reduce((total, one) => total + one[key], 0)
    const relayCpuMs = cpuMsOf(cluster.relayPid()) - cpuBefore
    return { proxies, ms, relayCpuMs, refusals: sum('refusals'), failed: sum('failed') }
  } finally {
    await Promise.all(askers.map((asker) => asker.terminate()))
    await fleet.end()
  }
}

function askersOf({ name: cluster, trustDomain }: FleetCluster, callers: readonly RelayCaller[]): Worker {
  const [{ relay, caFile } = absent()] = callers
  const relayUri = `spiffe://${trustDomain}/ns/isthmus-system/sa/relay`
  const tokenFiles = callers.map(({ tokenFile }) => tokenFile)
  const workerData: Askers = { relay, relayUri, caFile, cluster, tokenFiles }
  return new Worker(new URL('./issuance-askers.ts', import.meta.url), { workerData })
}

const absent = (): never => {
  throw new Error('there is nobody to ask')
}

/** In ticks of a hundredth of a second, as Linux counts them. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

async function cpuSeconds(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
