/** What the sandbox writes to its terminal, or to whatever stands in its place. */
export type Screen = {
  say(line: string): void
  /** A ✔ line: what, its facts, and the seconds since the start. */
  done(what: string, facts: string, seconds: number): void
  /** The last line, rewritten in place; where there is no terminal, a plain line now and then. */
  status(parts: readonly string[]): void
  /** Ends the last line, so that nothing is written over it. */
  close(): void
}

type Output = {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

const clear = '\r\u001b[2K'
const plainEveryMs = 60_000
/** The first one, once there is something to tell. */
const plainFirstMs = 5000
const widest = 84
const colours: Readonly<Record<string, string>> = { '✔': '\u001b[32m', '✘': '\u001b[31m' }
const dim = '\u001b[2m'
const usual = '\u001b[0m'

/**
 * Colours and the rewritten line only on a terminal; `NO_COLOR` and a dumb one are plain. Narrow terminals get the ✔ lines
 * in two, and of the last line what fits: it never wraps, so it can be rewritten.
 */
export function openScreen(
  output: Output,
  env: Readonly<Record<string, string | undefined>>,
  now: () => number = Date.now,
): Screen {
  const isTerminal = output.isTTY === true
  const moves = isTerminal && env['TERM'] !== 'dumb'
  const coloured = moves && !env['NO_COLOR']
  let shown = ''
  let plainAt: number | undefined

  const say = (line: string) => {
    output.write(`${shown === '' ? '' : clear}${line.split('\n').map(paint).join('\n')}\n`)
    if (shown !== '') output.write(faint(shown))
  }
  return {
    say,
    done: (what, facts, seconds) => {
      for (const line of doneLines(what, facts, seconds, isTerminal ? (output.columns ?? 80) : widest)) say(line)
    },
    status: (parts) => {
      if (moves) {
        const next = fitting(parts, (output.columns ?? 80) - 1)
        if (next === shown) return
        shown = next
        output.write(`${clear}${faint(shown)}`)
        return
      }
      plainAt ??= now() + plainFirstMs
      if (now() >= plainAt) {
        plainAt = now() + plainEveryMs
        output.write(`${parts.join(' · ')}\n`)
      }
    },
    close: () => {
      if (shown !== '') output.write('\n')
      shown = ''
    },
  }

  function paint(line: string): string {
    const colour = coloured ? colours[line[0] ?? ''] : undefined
    return colour === undefined ? line : `${colour}${line[0]}${usual}${line.slice(1)}`
  }

  function faint(text: string): string {
    return coloured ? `${dim}${text}${usual}` : text
  }
}

/** `✔ what  facts … 1.2 s`, the seconds at the right; where that does not fit, the facts below, broken between words. */
export function doneLines(what: string, facts: string, seconds: number, columns: number): readonly string[] {
  const time = `${seconds.toFixed(1)} s`
  const width = Math.min(columns, widest)
  const left = `✔ ${what.padEnd(9)} `
  const room = width - left.length - time.length - 2
  if (facts.length <= room) return [`${left}${facts.padEnd(room)}  ${time}`]
  if (columns >= widest) return [`${left}${facts}  ${time}`]
  return [`${left.trimEnd()} ${time}`, ...broken(facts, Math.max(8, width - 2)).map((line) => `  ${line}`)]
}

function broken(text: string, width: number): readonly string[] {
  const lines: string[] = []
  for (const word of text.split(/ +/)) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** The parts that fit, from the first on; the first that does not is cut. */
export function fitting(parts: readonly string[], width: number): string {
  const whole = parts.join(' · ')
  return whole.length <= width ? whole : `${whole.slice(0, Math.max(0, width - 1))}…`
}

/** The last line: how many requests, how they went, and where reviews are answered. */
export function trafficLine(summary: {
  readonly perSecond: number
  readonly failed: number
  readonly p99?: number
  readonly reviews: readonly (readonly [cluster: string, percent: number])[]
}): readonly string[] {
  const { perSecond, failed, p99, reviews } = summary
  const where = reviews.map(([cluster, percent]) => `${cluster} ${percent} %`).join(', ')
  return [
    `${perSecond} req/s`,
    `failed ${failed}`,
    `p99 ${p99 === undefined ? '–' : `${Math.round(p99)} ms`}`,
    `reviews: ${where || 'nobody answers'}`,
  ]
}
