import { randomBytes, sign, verify } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import type { Caller } from '#gateway/grpc/call.ts'
import { certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { openIssued } from '#gateway/issued.ts'
import { requestCertificate } from '#gateway/proxy/request-certificate.ts'
import { IstioCertificateRequestSchema } from '#gen/istio/ca_pb.js'
import { csrOf, domain, keyInHand, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { startFleet } from '#tests/support/fleet.ts'
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
    readonly refusals: number
    readonly failed: number
  }
}

const rounds = 5
const perRound = 1000
const proxies = 1000

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

export async function measureStorm(): Promise<Issuance['storm']> {
  const fleet = await startFleet({ a: { pods: {} } })
  try {
    const cluster = fleet.cluster('a')
    const callers = await Promise.all(
      Array.from({ length: proxies }, async (_, n) => ({
        from: cluster.caller(`sa-${n}`),
        csr: await csrOf(keyInHand()),
      })),
    )
    const started = performance.now()
    let refusals = 0
    const answers = await Promise.allSettled(
      callers.map(({ from, csr }) =>
        untilAnswered(
          () => requestCertificate(from, csr),
          () => refusals++,
        ),
      ),
    )
    const ms = performance.now() - started
    return { proxies, ms, refusals, failed: answers.filter(({ status }) => status === 'rejected').length }
  } finally {
    await fleet.end()
  }
}

/** As `isthmus proxy` tries again: after 0.1 to 0.2 s, then twice as late each time. */
async function untilAnswered<T>(ask: () => Promise<T>, refused: () => void): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask()
    } catch (fault) {
      refused()
      if (attempt >= 6) throw fault
      await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt * (0.5 + Math.random() / 2)))
    }
  }
}

async function cpuSeconds(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
