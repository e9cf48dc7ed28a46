import { randomBytes, randomUUID } from 'node:crypto'
import { request } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { type CentreClient, centreClient } from '#gateway/uplink/centre-client.ts'
import { joinCentre } from '#gateway/uplink/join.ts'
import { assertionOf, loadRelayKey, type Membership } from '#gateway/uplink/membership.ts'
import { hashOf, type Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { tokenAnswerSchema } from '#mesh/wire/join.ts'
import { addItem, removeItem, rootOf } from '#mesh/wire/root.ts'
import { formatEpoch, type SyncAnswer, type SyncRequest, syncAnswerSchema } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

/** A cluster that has joined for real, and says what a relay would say with the client that a relay has. */
export type BenchMember = {
  readonly name: string
  readonly client: CentreClient
  readonly token: string
  readonly path: string
  /** The next sync, with so many changed items; to be sent, for the next one builds on it. */
  next(changes: number): SyncRequest
  /** Sends it. Throws where the centre refuses any of it, or has another idea of the report than we. */
  send(sync: SyncRequest): Promise<SyncAnswer>
  /** Ready endpoints by service key, as reported last. */
  ready(): ReadonlyMap<string, number>
  close(): void
}

export type MemberPlan = {
  readonly number: number
  readonly name: string
  readonly joinToken: string
  readonly services: number
  readonly dir: string
}

const version = '0.1.0'
/** A relay asks again after less; we want to know how long it takes. */
const timeoutMs = 60_000

/** Joins, and reports its services for the first time. */
export async function joinBenchMember(plan: MemberPlan): Promise<BenchMember> {
  const membership = await again(() =>
    joinCentre({
      ...{ token: plan.joinToken, dir: plan.dir, cluster: plan.name, network: plan.name, region: 'r1' },
      version,
    }),
  )
  const token = await tokenOf(membership, plan)
  const client = centreClient({ url: membership.url, ca: () => membership.controlPlaneCa, version })
  const path = `/v1/clusters/${membership.clusterId}/sync`
  const report = reportOf(plan)
  const send = async (sync: SyncRequest): Promise<SyncAnswer> => {
    // As a relay does: the same (epoch, seq) again is taken in once, whatever became of the connection.
    const answer = await again(() => client.call({ path, body: sync, schema: syncAnswerSchema, token, timeoutMs }))
    if (answer.resync || answer.rejected || answer.appliedSeq !== sync.seq)
      throw new Error(`${plan.name}: the centre answers ${JSON.stringify({ ...answer, heads: undefined })}`)
    return answer
  }
  await send(report.first)
  return { name: plan.name, client, token, path, send, close: () => client.close(), ...report }
}

/**
 * Ours are many joins from one address, which the centre slows down: we wait as it tells us to. A connection that was cut
 * between two requests, or an answer that did not come, is a reason to ask again, three times.
 */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let lost = 0; ; )
    try {
      return await work()
    } catch (error) {
      const isLost = error instanceof Problem && error.kind === 'unavailable' && lost++ < lostMax
      if (!isLost && !(error instanceof Problem && error.kind === 'too-many')) throw error
      await pause(Number(error.extra['retryAfterSeconds'] ?? 1) * 1000)
    }
}

const lostMax = 3

/** From an address of its own, as every cluster has one. */
async function tokenOf(membership: Membership, { dir, number }: MemberPlan): Promise<string> {
  const assertion = assertionOf(membership, loadRelayKey(dir, membership), Date.now(), randomUUID())
  const text = await new Promise<string>((resolve, reject) => {
    const outgoing = request(
      new URL('/v1/token', membership.url),
      {
        ...{ method: 'POST', ca: membership.controlPlaneCa, agent: false },
        localAddress: `127.77.${number >> 8}.${(number & 255) + 1}`,
        headers: { 'content-type': 'application/json' },
      },
      (answer) => {
        let said = ''
        answer.setEncoding('utf8').on('data', (part: string) => {
          said += part
        })
        answer.on('error', reject).on('end', () => resolve(said))
      },
    )
    outgoing.on('error', reject).end(JSON.stringify({ assertion }))
  })
  return tokenAnswerSchema.parse(JSON.parse(text)).accessToken
}

type Summary = { readonly key: string; readonly service: string; ready: number }

function reportOf({
  number,
  name,
  services,
}: MemberPlan): Pick<BenchMember, 'next' | 'ready'> & { first: SyncRequest } {
  const epoch = formatEpoch(Date.now(), randomBytes(4).toString('hex'))
  const summaries = Array.from({ length: services }, (_, n): Summary => {
    const service = `shop/svc-${n}`
    return { service, key: `summary/${service}`, ready: 1 }
  })
  const facts = { network: name, region: 'r1', relayVersion: version, meshSync: meshSyncText }
  const gateway = { address: `10.200.${number >> 8}.${number & 255}`, port: 15443, state: 'ready' }
  const told = new Map<string, Json>([
    ['cluster', facts],
    ['gateways', { gateways: [gateway] }],
    ...summaries.flatMap((one): [string, Json][] => [
      [`export/${one.service}`, exported],
      [one.key, bodyAt(one.ready)],
    ]),
  ])
  let seq = 1
  let root = rootOf([...told].map(([key, body]) => [key, hashOf(body)]))
  let turn = 0
  const itemsOf = (entries: Iterable<readonly [string, Json]>): SyncRequest['items'] =>
    [...entries].map(([k, v]) => ({ k, v: v as Record<string, unknown> }))
  return {
    first: { proto: meshSyncText, epoch, seq, items: itemsOf(told), root, complete: true },
    ready: () => new Map(summaries.map(({ service, ready }) => [service, ready])),
    next: (changes) => {
      const changed: [string, Json][] = []
      for (let left = changes; left > 0; left--) {
        const one = summaries[turn++ % services]
        if (!one || changes > services) throw new Error(`a member of ${services} services has no ${changes} to change`)
        root = removeItem(root, one.key, hashAt(one.ready))
        one.ready = (one.ready % readyMax) + 1
        root = addItem(root, one.key, hashAt(one.ready))
        changed.push([one.key, bodyAt(one.ready)])
      }
      seq++
      return { proto: meshSyncText, epoch, seq, items: itemsOf(changed), root }
    },
  }
}

const exported: Json = {
  ports: [{ name: 'http', port: 8080, protocol: 'http', declared: true }],
  serviceAccounts: ['sa'],
  createdAt: 1,
  headless: false,
}

/** Enough that a count does not come back while somebody may still mean the last. */
const readyMax = 50
const bodies = Array.from(
  { length: readyMax + 1 },
  (_, ready): Json => ({
    counts: ['a', 'b'].map((zone) => ({ port: 8080, region: 'r1', zone, ready, total: readyMax })),
  }),
)
const hashes = bodies.map((body) => hashOf(body))
const bodyAt = (ready: number): Json => bodies[ready] ?? null
const hashAt = (ready: number): string => hashes[ready] ?? ''
