import { create, type JsonObject, toBinary } from '@bufbuild/protobuf'
import { NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { type Dial, type LoadProxy, loadProxy, type Manners } from '#tests/bench/load/client.ts'

// The load generator, a process of its own: groups of proxies, told what to do and asked what they saw over IPC.

export type LoadNode = { readonly id: string; readonly cluster: string; readonly metadata: JsonObject }
export type Member = { readonly node: LoadNode; readonly dial: Dial }

export type Orders = {
  /** Opens a group; answers when all are in sync (a group that is not honest: at once). */
  open: { group: string; manners: Manners; members: readonly Member[] }
  /** Drops all connections at once and opens them again; answers when all are in sync. */
  reconnect: { group: string }
  /** Arms the group; answers when each member was sent a response of the type that names the resource. */
  expect: { group: string; type: string; name: string }
  /** What the group was sent since it was last asked. */
  totals: { group: string }
  /** Drops a connection of the group and opens it again, one after the other, so many a second, until it is closed. */
  stir: { group: string; perSecond: number }
  close: { group: string }
  cpu: object
}

export type Answers = {
  open: { ms: number }
  reconnect: { ms: number }
  expect: { at: bigint[]; bytes: number }
  totals: { resources: number; bytes: number; ended: number; byType: Record<string, number> }
  stir: object
  close: object
  cpu: { user: number; system: number; rss: number }
}

type Group = {
  readonly manners: Manners
  readonly proxies: LoadProxy[]
  totals: { resources: number; bytes: number; byType: Record<string, number> }
  ended: number
  expects: { type: string; name: string; seen: Map<number, bigint>; bytes: number; done: () => void } | undefined
  stirring?: NodeJS.Timeout
}

const groups = new Map<string, Group>()
const syncMs = 120_000
const nothing = () => ({ resources: 0, bytes: 0, byType: {} as Record<string, number> })

const handlers: { [K in keyof Orders]: (order: Orders[K]) => Promise<Answers[K]> } = {
  open: async ({ group: name, manners, members }) => {
    const group: Group = { manners, proxies: [], totals: nothing(), ended: 0, expects: undefined }
    groups.set(name, group)
    const began = performance.now()
    for (const [n, { node, dial }] of members.entries()) {
      const bytes = Buffer.from(toBinary(NodeSchema, create(NodeSchema, { ...node })))
      const proxy = loadProxy(dial, bytes, {
        manners,
        onReceived: (type, names, size) => received(group, n, type, names, size),
        onEnd: () => {
          group.ended += 1
        },
      })
      group.proxies.push(proxy)
      proxy.open()
    }
    if (manners === 'honest') await inSync(group)
    return { ms: performance.now() - began }
  },
  reconnect: async ({ group: name }) => {
    const group = groupOf(name)
    for (const proxy of group.proxies) proxy.drop()
    const began = performance.now()
    for (const proxy of group.proxies) proxy.open()
    if (group.manners === 'honest') await inSync(group)
    return { ms: performance.now() - began }
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
      const done = () => {
        clearTimeout(late)
        const bytes = group.expects?.bytes ?? 0
        group.expects = undefined
        resolve({ at: [...seen.values()], bytes: bytes / seen.size })
      }
      group.expects = { type, name: resource, seen, bytes: 0, done }
      process.send?.({ armed: true })
    }),
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
    const group = groupOf(name)
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

function received(group: Group, n: number, type: string, names: readonly string[], bytes: number): void {
  const at = process.hrtime.bigint()
  group.totals.resources += names.length
  group.totals.bytes += bytes
  group.totals.byType[type] = (group.totals.byType[type] ?? 0) + names.length
  const { expects } = group
  if (!expects || expects.type !== type || (expects.name !== '' && !names.includes(expects.name))) return
  expects.bytes += bytes
  if (expects.seen.has(n)) return
  expects.seen.set(n, at)
  if (expects.seen.size === group.proxies.length) expects.done()
}

async function inSync(group: Group): Promise<void> {
  const end = performance.now() + syncMs
  let waiting = group.proxies
  while (waiting.length > 0) {
    if (performance.now() > end)
      throw new Error(`${waiting.length} of ${group.proxies.length} proxies are not in sync after ${syncMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
    waiting = waiting.filter((proxy) => !proxy.inSync())
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
