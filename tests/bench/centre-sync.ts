import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { type Floor, type SyncFigures, type SyncPoint, spreadOf } from '#tests/bench/centre-figures.ts'
import type { BenchMember } from '#tests/bench/centre-member.ts'
import { cpuSecondsOf } from '#tests/bench/load/process.ts'

/** Milliseconds. */
export type Duration = { readonly warm: number; readonly measured: number }

/** What the centre lets one cluster ask for in the long run; a member that is answered faster waits. */
const perSecondMax = 20

export type Loaded = Omit<SyncFigures, keyof SyncPoint | 'hintsPerSecond' | 'httpFloor' | 'storeFloor'>

/**
 * Every member sends its syncs one after the other. What counts is what was answered between the end of the warm-up and
 * the end (where that is nothing, times are NaN: the machine is too busy for figures); the first refused one ends it all.
 */
export async function loadCentre(
  members: readonly BenchMember[],
  items: number,
  centrePid: number,
  duration: Duration,
): Promise<Loaded> {
  const cost = () => ({ ...process.cpuUsage(), centre: cpuSecondsOf(centrePid), machine: machineTicks() })
  const from = performance.now() + duration.warm
  const began = pause(duration.warm).then(cost)
  const ended = pause(duration.warm + duration.measured).then(cost)
  const times = await callersInTurn(
    members.map((member) => async (timed) => {
      const sync = member.next(items)
      await timed(() => member.send(sync))
    }),
    { from, until: from + duration.measured, perSecondMax },
  )
  const [before, after] = await Promise.all([began, ended])
  const seconds = duration.measured / 1000
  const busy = after.user + after.system - before.user - before.system
  const ticks = after.machine.all - before.machine.all
  return {
    commitsPerSecond: times.length / seconds,
    itemsPerSecond: (times.length * items) / seconds,
    sync: spreadOf(times),
    centreCpuPer1000: ((after.centre - before.centre) / times.length) * 1000,
    generatorBusy: busy / 1e6 / seconds,
    machineBusy: 1 - (after.machine.idle - before.machine.idle) / ticks,
  }
}

/** The same requests, sent to somebody else by the same clients at the same pace. */
export async function loadFloor(
  callers: readonly (() => Promise<unknown>)[],
  duration: Duration,
  perSecond?: number,
): Promise<Floor> {
  const from = performance.now() + duration.warm
  const times = await callersInTurn(
    callers.map((call) => (timed) => timed(call)),
    { from, until: from + duration.measured, ...(perSecond === undefined ? {} : { perSecondMax: perSecond }) },
  )
  return { perSecond: times.length / (duration.measured / 1000), took: spreadOf(times) }
}

type Timed = (call: () => Promise<unknown>) => Promise<void>
type Window = { readonly from: number; readonly until: number; readonly perSecondMax?: number }

async function callersInTurn(
  callers: readonly ((timed: Timed) => Promise<void>)[],
  { from, until, perSecondMax: most = Number.POSITIVE_INFINITY }: Window,
): Promise<number[]> {
  const times: number[] = []
  await Promise.all(
    callers.map(async (turn) => {
      while (performance.now() < until) {
        const started = performance.now()
        await turn(async (call) => {
          const sent = performance.now()
          await call()
          const answered = performance.now()
          if (answered >= from && answered < until) times.push(answered - sent)
        })
        const ms = 1000 / most - (performance.now() - started)
        if (ms > 0) await pause(ms)
      }
    }),
  )
  return times
}

/** Comes back when the process has computed next to nothing for half a second. */
export async function quiet(pid: number, withinMs: number): Promise<void> {
  const end = performance.now() + withinMs
  for (let still = 0; still < 2; ) {
    const before = cpuSecondsOf(pid)
    await pause(500)
    still = cpuSecondsOf(pid) - before <= 0.03 ? still + 1 : 0
    if (performance.now() > end) throw new Error(`the centre has not come to rest within ${withinMs} ms`)
  }
}

function machineTicks(): { readonly all: number; readonly idle: number } {
  const times = cpus().map(({ times }) => times)
  const idle = times.reduce((sum, one) => sum + one.idle, 0)
  return { idle, all: times.reduce((sum, { user, nice, sys, irq }) => sum + user + nice + sys + irq, idle) }
}
