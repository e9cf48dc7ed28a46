import type { Received } from '#gateway/uplink/received.ts'
import { openReceivedLog, type ReceivedLog, replayLog, type Step } from '#gateway/uplink/received-log.ts'
import type { Log } from '#gateway/uplink/standing.ts'
import { loadReceived, type StateFault, saveReceived } from '#gateway/uplink/state-file.ts'

/**
 * What the relay received, on disk: the whole at `path`, the steps since then in `path.log`. A step is on disk before it
 * is served, so a relay that is killed and finds no centre never goes back behind what its proxies have seen.
 */
export type ReceivedStore = {
  readonly loaded: Received
  faults(): readonly StateFault[]
  /** Keeps `step`, which led to `after`. Never throws: what cannot be written is a fault, is served from memory, and is tried again. */
  keep(step: Step, after: Received): void
  close(): void
}

export const storeTimes = { flushMs: 5000, retryMs: 2000 } as const
const logBytesMin = 1024 * 1024

export function openReceivedStore(path: string, log: Log): ReceivedStore {
  const logPath = `${path}.log`
  const whole = loadReceived(path)
  const { received: loaded, faults: logFaults, torn } = replayLog(logPath, whole.received)
  let damage = [...whole.faults, ...logFaults]
  let failure: StateFault | undefined
  let latest = loaded
  let file: ReceivedLog | undefined
  // After damage, and where a line may have been cut off, the next step saves the whole state.
  let broken = damage.length > 0 || torn
  let wholeBytes = 0
  let retry: NodeJS.Timeout | undefined
  let flush: NodeJS.Timeout | undefined

  return {
    loaded,
    faults: () => (failure ? [...damage, failure] : damage),
    keep: (step, after) => {
      latest = after
      attempt(() => append(step))
    },
    close: () => {
      clearTimeout(retry)
      clearTimeout(flush)
      if (failure) attempt(saveWhole)
      clearTimeout(retry)
      try {
        file?.flush()
        file?.close()
      } catch {
        // Nothing is lost by the end of the process alone.
      }
    },
  }

  function append(step: Step): void {
    file ??= openReceivedLog(logPath)
    if (broken || file.bytes() > Math.max(logBytesMin, 2 * wholeBytes)) {
      saveWhole()
      return
    }
    broken = true
    file.append(step)
    broken = false
    flush ??= setTimeout(() => {
      flush = undefined
      attempt(() => file?.flush())
    }, storeTimes.flushMs).unref()
  }

  function saveWhole(): void {
    wholeBytes = saveReceived(path, latest)
    file ??= openReceivedLog(logPath)
    file.clear()
    broken = false
    damage = []
  }

  function attempt(work: () => void): void {
    try {
      work()
      if (failure) log.info({ path }, 'state is saved again')
      failure = undefined
    } catch (cause) {
      const reason = `not saved: ${(cause as Error).message}`
      if (!failure) log.warn({ path, reason }, 'state could not be saved; served from memory')
      failure = { path, reason }
      broken = true
      clearTimeout(retry)
      retry = setTimeout(() => attempt(saveWhole), storeTimes.retryMs).unref()
    }
  }
}
