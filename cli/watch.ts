import { setTimeout as pause } from 'node:timers/promises'
import type { Format } from '#cli/output.ts'

/** What a command shows: its text at a moment (Unix ms), which for tables holds ages. */
export type Reading = (now: number) => string

const everyMs = 1000

/**
 * Prints once; with `watch` then, once a second, what changed: of a table the lines that are new or gone, of JSON and
 * YAML the whole. Ages that go up are no change. A centre that is away is said once, and the watch goes on.
 */
export async function show(
  read: () => Promise<Reading>,
  options: { readonly output: Format; readonly watch?: boolean },
  print: (text: string) => void,
): Promise<void> {
  const first = await read()
  print(first(Date.now()))
  let before = first(0)
  while (options.watch) {
    await pause(everyMs)
    const reading = await read().catch(
      (error: Error): Reading =>
        () =>
          `${error.message}\n`,
    )
    const now = reading(0)
    if (now !== before) print(options.output === 'table' ? changedLines(before, now, reading) : reading(Date.now()))
    before = now
  }
}

/** Lines are compared without their ages and the width of their columns, and printed with them. */
function changedLines(before: string, now: string, reading: Reading): string {
  const plain = (text: string) => text.split('\n').map((line) => line.replace(/\s+/g, ' '))
  const [old, fresh] = [plain(before), plain(now)]
  const printed = reading(Date.now()).split('\n')
  const gone = old.filter((line) => line !== '' && !fresh.includes(line)).length
  const lines = printed.filter((_, n) => fresh[n] !== '' && !old.includes(fresh[n] ?? ''))
  const removed = gone > lines.length ? [`(${gone - lines.length} gone)`] : []
  return [...lines, ...removed].map((line) => `${line}\n`).join('')
}
