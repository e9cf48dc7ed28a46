import { create, type JsonObject, toBinary } from '@bufbuild/protobuf'
import { NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { probeName } from '#tests/bench/load/behaviour.ts'
import { type Arrival, type LoadProxy, loadProxy, type Manners } from '#tests/bench/load/client.ts'
import type { Dial } from '#tests/bench/load/connection.ts'
import { later, seeded } from '#tests/bench/load/later.ts'
import { type Mode, responseReader } from '#tests/bench/load/response.ts'

// The load generator, a process of its own: groups of proxies, told what to do and asked what they saw over IPC. The time
// of a message is that of its last byte; it is handled and answered a while later, as a proxy applies before it answers.

export type LoadNode = { readonly id: string; readonly cluster: string; readonly metadata: JsonObject }
export type Member = { readonly node: LoadNode; readonly dial: Dial }

export type Orders = {
  /** Opens a group; answers when all are in sync (a group that is not honest: at once). */
  open: { group: string; manners: Manners; mode?: Mode; members: readonly Member[] }
  /** Drops all connections at once and opens them again; answers when all are in sync. */
  reconnect: { group: string }
  /** Bare clients answer with so many bytes from now on, after the same while as others; 0: not at all. */
  answer: { group: string; bytes: number }
  /** Arms the group; answers when each member was sent a response of the type that names the resource. */
  expect: { group: string; type: string; name: string }
  /** Names of resources that will be changed, in this order: what arrives under a name belongs to its last change. */
  announce: { group: string; type: string; names: readonly string[] }
  /** What arrived of all changes that were announced, once every stream has them all, or so late; forgets them. */
  arrived: { group: string; waitMs: number }
  /** What the group was sent, and sent, since it was last asked. */
  totals: { group: string }
  /** Drops a connection of the group and opens it again, one after the other, so many a second, until it is closed. */
  stir: { group: string; perSecond: number }
  /** Ends all connections of a group, where there is one of this name. */
  close: { group: string }
  cpu: object
}

export type Answers = {
  open: { ms: number; busy: number }
  reconnect: { ms: number; busy: number }
  answer: object
  /** `busy`: the share of the time since it was armed in which the generator's thread had work. */
  expect: { at: bigint[]; bytes: number; busy: number }
  announce: object
  arrived: { changes: readonly Arrived[] }
  totals: Totals & { ended: number }
  stir: object
  close: object
  cpu: { user: number; system: number; rss: number }
}

/** One announced change: how many streams were sent it, and when the last one read it. */
export type Arrived = { readonly streams: number; readonly last: bigint }

export type Totals = {
  resources: number
  bytes: number
  byType: Record<string, number>
  sent: { messages: number; bytes: number }
}

type Change = { seen: Set<number>; last: bigint }

type Group = {
  readonly manners: Manners
  readonly proxies: LoadProxy[]
  /** While they connect, proxies answer at once: how soon they are in sync is then the server's doing alone. */
  isOpening: boolean
  /** Its messages are handled at once: there is nothing to apply, and nothing to answer. */
  isPrompt: boolean
  totals: Totals
  ended: number
  expects: { type: string; name: string; seen: Map<number, bigint>; bytes: number; done: () => void } | undefined
  announced: { type: string; all: Change[]; current: Map<string, Change> }
  stirring?: NodeJS.Timeout
}

const groups = new Map<string, Group>()
const syncMs = 240_000
const nothing = (): Totals => ({ resources: 0, bytes: 0, byType: {}, sent: { messages: 0, bytes: 0 } })
const nothingAnnounced = () => ({ type: '', all: [], current: new Map() })

const read = responseReader()
/** Something was read so few milliseconds ago that more is likely to be there. */
const readingMs = 2
let lastReadAt = 0
const answers = later<() => void>({
  isBusy: () => performance.now() - lastReadAt < readingMs,
  mostMs: Number(process.argv[2]),
  random: seeded(Number(process.argv[3])),
  now: () => performance.now(),
  schedule: (run) => void setTimeout(run, 1),
  take: (handle) => handle(),
})

/** All at once, but for the turns that those need who are being answered already: no thousand machines stand in a row. */
async function openAll(proxies: readonly LoadProxy[]): Promise<void> {
  for (const [n, proxy] of proxies.entries()) {
    proxy.open()
    if (n % 16 === 15) await new Promise((resolve) => setImmediate(resolve))
  }
}

const handlers: { [K in keyof Orders]: (order: Orders[K]) => Promise<Answers[K]> } = {
  open: async ({ group: name, manners, mode = 'delta', members }) => {
    const group: Group = {
      ...{
        manners,
        proxies: [],
        isOpening: true,
        isPrompt: manners !== 'honest',
        totals: nothing(),
        ended: 0,
        expects: undefined,
      },
      announced: nothingAnnounced(),
    }
    groups.set(name, group)
    const spent = stopwatch()
    for (const [n, { node, dial }] of members.entries()) {
      const bytes = Buffer.from(toBinary(NodeSchema, create(NodeSchema, { ...node })))
      let handledAt = 0
      const proxy = loadProxy(dial, bytes, {
        ...{ manners, mode },
        onArrival: (arrival) => {
          lastReadAt = performance.now()
          if (group.isOpening || group.isPrompt) handle(group, n, mode, arrival)
          else handledAt = answers.add(() => handle(group, n, mode, arrival), handledAt)
        },
        onSent: (size) => {
          group.totals.sent.messages += 1
          group.totals.sent.bytes += size
        },
        onEnd: () => {
          group.ended += 1
        },
      })
      group.proxies.push(proxy)
      proxy.open()
    }
    await inSync(group)
    return spent()
  },
  reconnect: async ({ group: name }) => {
    const group = groupOf(name)
    for (const proxy of group.proxies) proxy.drop()
    const spent = stopwatch()
    group.isOpening = true
    await openAll(group.proxies)
    await inSync(group)
    return spent()
  },
  answer: async ({ group: name, bytes }) => {
    const group = groupOf(name)
    group.isPrompt = bytes === 0
    for (const proxy of group.proxies) proxy.answer(bytes)
    return {}
  },
  expect: ({ group: name, type, name: resource }) =>
    new Promise((resolve, reject) => {
      const group = groupOf(name)
      const late = setTimeout(() => {
        const { size } = group.expects?.seen ?? new Map()
        group.expects = undefined
        reject(new Error(`${size} of ${group.proxies.length} were sent ${resource} within ${syncMs} ms`))
      }, syncMs)
      const seen = new Map<number, bigint>()
      const spent = stopwatch()
      const done = () => {
        clearTimeout(late)
        const bytes = group.expects?.bytes ?? 0
        group.expects = undefined
        resolve({ at: [...seen.values()], bytes: bytes / seen.size, busy: spent().busy })
      }
      group.expects = { type, name: resource, seen, bytes: 0, done }
      process.send?.({ armed: true })
    }),
  announce: async ({ group: name, type, names }) => {
    const { announced } = groupOf(name)
    announced.type = type
    for (const one of names) {
      const change: Change = { seen: new Set(), last: 0n }
      announced.all.push(change)
      announced.current.set(one, change)
    }
    return {}
  },
  arrived: async ({ group: name, waitMs }) => {
    const group = groupOf(name)
    const { all } = group.announced
    const end = performance.now() + waitMs
    while (performance.now() < end && all.some(({ seen }) => seen.size < group.proxies.length))
      await new Promise((resolve) => setTimeout(resolve, 50))
    group.announced = nothingAnnounced()
    return { changes: all.map(({ seen, last }) => ({ streams: seen.size, last })) }
  },
  totals: async ({ group: name }) => {
    const group = groupOf(name)
    const { totals, ended } = group
    group.totals = nothing()
    return { ...totals, ended }
  },
  stir: async ({ group: name, perSecond }) => {
    const group = groupOf(name)
    let next = 0
    group.stirring = setInterval(() => {
      const proxy = group.proxies[next++ % group.proxies.length]
      proxy?.drop()
      proxy?.open()
    }, 1000 / perSecond)
    return {}
  },
  close: async ({ group: name }) => {
    const group = groups.get(name)
    if (!group) return {}
    clearInterval(group.stirring)
    for (const proxy of group.proxies) proxy.drop()
    groups.delete(name)
    return {}
  },
  cpu: async () => {
    const { user, system } = process.cpuUsage()
    return { user: user / 1e6, system: system / 1e6, rss: process.memoryUsage.rss() }
  },
}

/** Counts what arrived and has it answered. A bare client's message has no name: its size is all there is to it. */
function handle(group: Group, n: number, mode: Mode, { at, bytes, take }: Arrival): void {
  const response = take((pieces) => read(mode, pieces))
  if (!response && group.manners !== 'bare') return
  const { type = '', names = [] } = response ?? {}
  const isProbe = names.includes(probeName)
  if (isProbe && names.length === 1) return
  const { totals, expects, announced } = group
  const resources = names.length - Number(isProbe)
  totals.resources += resources
  totals.bytes += bytes
  totals.byType[type] = (totals.byType[type] ?? 0) + resources
  if (announced.type === type)
    for (const name of names) {
      const change = announced.current.get(name)
      if (!change) continue
      change.seen.add(n)
      if (at > change.last) change.last = at
    }
  if (!expects || expects.type !== type || (expects.name !== '' && !names.includes(expects.name))) return
  expects.bytes += bytes
  if (expects.seen.has(n)) return
  expects.seen.set(n, at)
  if (expects.seen.size === group.proxies.length) expects.done()
}

async function inSync(group: Group): Promise<void> {
  const end = performance.now() + syncMs
  let waiting = group.manners === 'honest' ? group.proxies : []
  while (waiting.length > 0) {
    if (performance.now() > end)
      throw new Error(`${waiting.length} of ${group.proxies.length} proxies are not in sync after ${syncMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
    waiting = waiting.filter((proxy) => !proxy.inSync())
  }
  group.isOpening = false
}

function stopwatch(): () => { ms: number; busy: number } {
  const began = performance.now()
  const before = process.threadCpuUsage()
  return () => {
    const ms = performance.now() - began
    const { user, system } = process.threadCpuUsage(before)
    return { ms, busy: (user + system) / 1000 / ms }
  }
}

function groupOf(name: string): Group {
  const group = groups.get(name)
  if (!group) throw new Error(`there is no group "${name}"`)
  return group
}

process.on('message', (message: { id: number; order: keyof Orders; given: never }) => {
  const { id, order, given } = message
  handlers[order](given).then(
    (answer) => process.send?.({ id, answer }),
    (error: unknown) => process.send?.({ id, error: (error as Error).message }),
  )
})
process.on('disconnect', () => process.exit())
