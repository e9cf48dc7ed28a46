import { type FanOutParts, measureSeries, quiet, type Series, settle } from '#tests/bench/fan-out.ts'
import { nameAt } from '#tests/bench/load/big-cluster.ts'

/** What proxies that speak the state of the world see; they are few today, and there is no bar for them. */
export type WholeState = {
  readonly proxies: number
  readonly cold: { readonly ms: number; readonly bytesPerProxy: number }
  readonly endpoint: Series
  /** Of each proxy, for one acknowledgement: it names everything that it wants. */
  readonly answerBytes: number
  readonly reconnect: { readonly ms: number; readonly resources: number; readonly bytesPerProxy: number }
}

const group = 'state of the world'
const floorGroup = 'bare beside the state of the world'

/** One endpoint changes, and all come back: proxies that are sent whole lists and acknowledge whole lists. */
export async function measureWholeState(
  parts: Pick<FanOutParts, 'mesh' | 'generator' | 'floor' | 'proxies' | 'rounds'> & {
    readonly openFloor: (group: string, count: number) => Promise<void>
  },
): Promise<WholeState> {
  const { mesh, generator, proxies } = parts
  await parts.openFloor(floorGroup, proxies)
  const members = await mesh.proxies(proxies)
  const opened = await generator.order('open', { group, manners: 'honest', mode: 'sotw', members })
  const first = await settle(generator, group, 1000)
  const endpoint = await measureSeries({ ...parts, group, floorGroup, service: nameAt(1) })
  await generator.order('totals', { group })
  mesh.shop.change(nameAt(2))
  await quiet(1000)
  const { sent } = await generator.order('totals', { group })
  const again = await generator.order('reconnect', { group })
  const resent = await settle(generator, group, 1000)
  for (const one of [group, floorGroup]) await generator.order('close', { group: one })
  return {
    ...{ proxies, endpoint, answerBytes: sent.bytes / sent.messages },
    cold: { ms: opened.ms, bytesPerProxy: first.bytes / proxies },
    reconnect: { ms: again.ms, resources: resent.resources / proxies, bytesPerProxy: resent.bytes / proxies },
  }
}
