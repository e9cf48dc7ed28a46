import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { RelaySaid } from '#tests/bench/load/kubernetes-relay.ts'
import type { ServerOrder, ServerReady } from '#tests/bench/load/kubernetes-server.ts'
import { cpuSecondsOf, memoryOf } from '#tests/bench/load/process.ts'
import type { Row } from '#tests/bench/report.ts'

/** What it costs a relay to know a large Kubernetes cluster. Bytes, and ms. */
export type KubernetesCost = {
  readonly scale: typeof kubernetesScale
  /** Before the first object: the programs themselves, the client of the API with them. */
  readonly rssImported: number
  readonly syncMs: number
  /** While it lists all, and keeps what it read on disk. */
  readonly rssMax: number
  /** After forced collections. */
  readonly rss: number
  readonly heap: number
  /** From one slice's change at the server until the relay has it, median and largest. */
  readonly slice: Times
  /** The same for all pods of a service and its slice at once, as a rolling update has them. */
  readonly rolled: Times
  /** All kinds are told 410 at once and nothing changed: processor time of it. */
  readonly relistCpuMs: number
}
type Times = { readonly medianMs: number; readonly maxMs: number }

export const kubernetesScale = { services: 1000, endpoints: 10_000, pods: 5000 }
const rounds = 30

/** A fake API server and all of a relay but its centre, each a process of its own; the relay in one file, as it is shipped. */
export async function measureKubernetes(scale = kubernetesScale): Promise<KubernetesCost> {
  const { services, endpoints, pods } = scale
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-'))
  const program = join(dir, 'relay.cjs')
  await build({
    ...{
      entryPoints: [fileOf('kubernetes-relay.ts')],
      outfile: program,
      bundle: true,
      format: 'cjs',
      platform: 'node',
    },
    ...{ target: 'node24', minify: true, external: ['bufferutil', 'utf-8-validate'], logLevel: 'error' },
    define: { 'import.meta.url': '""' },
  })
  const server = start(fileOf('kubernetes-server.ts'), [services, endpoints / services, pods].map(String))
  const running = [server]
  try {
    const { kubeconfig } = (await next(server)) as ServerReady
    const relay = start(program, [kubeconfig])
    running.push(relay)
    const imported = (await next(relay)) as Extract<RelaySaid, { said: 'imported' }>
    const synced = (await next(relay)) as Extract<RelaySaid, { said: 'synced' }>
    if (synced.endpoints !== endpoints || synced.pods !== pods)
      throw new Error(`the relay has ${synced.endpoints} endpoints and ${synced.pods} pods`)
    const slice = await timed(relay, server, (n) => ({ order: 'slice', service: n * 7, ready: false }))
    const rolled = await timed(relay, server, (n) => ({ order: 'roll', service: n * 11, generation: 2 * n + 1 }))
    const relistCpuMs = await relisted(relay, server)
    const memory = await memoryOf(relay.pid ?? 0)
    const { ms: syncMs, rssMax } = synced
    return {
      scale,
      rssImported: imported.rss,
      syncMs,
      rssMax,
      rss: memory.rss,
      heap: memory.heapUsed,
      slice,
      rolled,
      relistCpuMs,
    }
  } finally {
    for (const one of running) one.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  }
}

async function timed(relay: ChildProcess, server: ChildProcess, orderOf: (n: number) => ServerOrder): Promise<Times> {
  const all: number[] = []
  for (let n = 0; n < rounds; n++) {
    const seen = next(relay) as Promise<Extract<RelaySaid, { said: 'changed' }>>
    const from = performance.timeOrigin + performance.now()
    server.send(orderOf(n))
    all.push((await seen).at - from)
    await pause(150)
  }
  const inOrder = all.toSorted((a, b) => a - b)
  return { medianMs: inOrder[rounds >> 1] ?? Number.NaN, maxMs: inOrder.at(-1) ?? Number.NaN }
}

async function relisted(relay: ChildProcess, server: ChildProcess): Promise<number> {
  await pause(1000)
  const news: unknown[] = []
  relay.on('message', (said) => news.push(said))
  const before = cpuSecondsOf(relay.pid ?? 0)
  server.send({ order: 'expire' } satisfies ServerOrder)
  await pause(6000)
  if (news.length > 0) throw new Error(`nothing changed, and the relay said ${JSON.stringify(news)}`)
  return (cpuSecondsOf(relay.pid ?? 0) - before) * 1000
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const fileOf = (name: string): string => join(import.meta.dirname, 'load', name)

const start = (file: string, args: readonly string[]): ChildProcess =>
  fork(file, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })

const next = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`${child.spawnargs.at(-1)} ended with ${code}`))
    child.once('exit', ended)
    child.once('message', (said) => {
      child.off('exit', ended)
      resolve(said)
    })
  })

const mb = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`
const ms = (value: number): string => `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`

export function kubernetesRows({ scale, ...cost }: KubernetesCost): Row[] {
  const { services, endpoints, pods } = scale
  const size = `${services} services, ${endpoints} endpoints, ${pods} pods`
  const times = ({ medianMs, maxMs }: Times): string => `${ms(medianMs)}, at most ${ms(maxMs)}`
  return [
    {
      what: `relay of a Kubernetes cluster (${size}): all of it read`,
      seen: ms(cost.syncMs),
      bar: { text: '≤ 10 s', reached: cost.syncMs <= 10_000 },
    },
    {
      what: 'its memory, and the most while it read and kept it on disk; before the first object; heap',
      seen: `${mb(cost.rss)}, ${mb(cost.rssMax)}; ${mb(cost.rssImported)}; ${mb(cost.heap)}`,
      bar: { text: '≤ 300 MB', reached: cost.rssMax <= 300e6 },
    },
    { what: 'one EndpointSlice changes at the API server → known to the relay', seen: times(cost.slice) },
    { what: 'ten pods and their slice change at once, same', seen: times(cost.rolled) },
    {
      what: 'every watch is told 410 and nothing changed: processor time, changes told',
      seen: `${ms(cost.relistCpuMs)}, 0`,
    },
  ]
}
