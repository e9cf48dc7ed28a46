import { typeUrls } from '#mesh/model/resource.ts'
import { type FanOutParts, quiet, sidecars, spreadOf } from '#tests/bench/fan-out.ts'
import { endpointsName, nameAt } from '#tests/bench/load/big-cluster.ts'
import { cpuSecondsOf, rssOf } from '#tests/bench/load/process.ts'

export type Sustained = {
  readonly seconds: number
  readonly changesPerSecond: number
  /** Responses that named a changed service, of all streams. */
  readonly updates: number
  /** Updates that would have come if no two changes of one service had met on their way. */
  readonly offered: number
  readonly updatesPerSecond: number
  readonly updatesPerCpuSecond: number
  /** From the change to the last stream, ms: a sample a second; a round that takes longer than the next change queues. */
  readonly lastMs: { readonly p50: number; readonly max: number }
  readonly rss: { readonly before: number; readonly after: number }
}

/** Endpoints of service after service change at a fixed rate, for so long: what arrives, what it costs, what grows. */
export async function measureSustained(
  parts: Pick<FanOutParts, 'mesh' | 'generator' | 'scale' | 'proxies'> & {
    readonly seconds: number
    readonly changesPerSecond: number
  },
): Promise<Sustained> {
  const { mesh, generator, scale, proxies, seconds, changesPerSecond } = parts
  const pid = mesh.relayPid()
  let changes = 0
  const change = () => mesh.shop.change(nameAt(changes++ % scale.services))
  await generator.order('totals', { group: sidecars })
  const before = { rss: rssOf(pid), cpu: cpuSecondsOf(pid) }
  const began = performance.now()
  const samples: Promise<number>[] = []
  for (let n = 0; performance.now() - began < seconds * 1000; n++) {
    if (n % changesPerSecond === 0) {
      const name = endpointsName(nameAt(changes % scale.services))
      const expected = await generator.expect({ group: sidecars, type: typeUrls.endpoint, name })
      const at = process.hrtime.bigint()
      change()
      samples.push(expected.seen.then((seen) => spreadOf(at, seen.at).last))
    } else change()
    await quiet(Math.max(0, began + ((n + 1) * 1000) / changesPerSecond - performance.now()))
    // A sample that is still on its way would be taken for the next one.
    if ((n + 1) % changesPerSecond === 0) await samples.at(-1)
  }
  const took = (performance.now() - began) / 1000
  const lasts = (await Promise.all(samples)).toSorted((a, b) => a - b)
  const used = cpuSecondsOf(pid) - before.cpu
  await quiet(2000)
  const { resources } = await generator.order('totals', { group: sidecars })
  return {
    ...{ seconds: took, changesPerSecond: changes / took, updates: resources, offered: changes * proxies },
    ...{ updatesPerSecond: resources / took, updatesPerCpuSecond: resources / used },
    lastMs: { p50: lasts[Math.floor(lasts.length / 2)] ?? Number.NaN, max: lasts.at(-1) ?? Number.NaN },
    rss: { before: before.rss, after: rssOf(pid) },
  }
}
