import { setTimeout as pause } from 'node:timers/promises'
import type { Format } from '#cli/output.ts'

/** What a command shows: its text at a moment (Unix ms), which for tables holds ages. */
export type Reading = (now: number) => string

export type Showing = {
  readonly output: Format
  readonly watch?: boolean
  readonly now: () => number
  readonly print: (text: string) => void
}

const everyMs = 1000

/**
 * Prints once; with `watch` then, once a second, what changed: of a table the lines that are new or gone, of JSON and
 * YAML the whole. Ages that go up are no change. A centre that is away is said once, and the watch goes on.
 */
export async function show(read: () => Promise<Reading>, { output, watch, now, print }: Showing): Promise<void> {
  const first = await read()
  print(first(now()))
  let before = first(0)
  while (watch) {
    await pause(everyMs)
    const reading = await read().catch(
      (error: Error): Reading =>
        () =>
          `${error.message}\n`,
    )
    const fresh = reading(0)
    if (fresh !== before) print(output === 'table' ? changedLines(before, fresh, reading(now())) : reading(now()))
    before = fresh
  }
}

/** Lines are compared without their ages and the width of their columns, and printed with them. */
export function changedLines(before: string, fresh: string, printed: string): string {
  const plain = (text: string) => text.split('\n').map((line) => line.replace(/\s+/g, ' '))
  const [old, now] = [plain(before), plain(fresh)]
  const gone = old.filter((line) => line !== '' && !now.includes(line)).length
  const lines = printed.split('\n').filter((_, n) => now[n] !== '' && !old.includes(now[n] ?? ''))
  const removed = gone > lines.length ? [`(${gone - lines.length} gone)`] : []
  return [...lines, ...removed].map((line) => `${line}\n`).join('')
}
