import { setTimeout as pause } from 'node:timers/promises'

const lookMs = 50

/** Asks every 50 ms until it holds. Throws after `timeoutMs` what does not, and the signal's reason when that is aborted. */
export async function until(
  timeoutMs: number,
  what: string,
  holds: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await holds()); ) {
    signal.throwIfAborted()
    if (Date.now() > end) throw new Error(`${what} (waited ${Math.round(timeoutMs / 1000)} s)`)
    await pause(lookMs, undefined, { signal })
  }
}
