/** Facts that a person at a terminal does not need on every line: who says it, and causes that the sentence has already. */
const hidden = ['time', 'level', 'msg', 'proxy', 'err']

/**
 * A finished log line for a terminal: `20:15:03 warn   no certificate yet: … (retryMs=200)`. A line that is no JSON (a
 * secret was cut out in a place that broke it) comes back as it is.
 */
export function plainLine(line: string): string {
  let facts: Readonly<Record<string, unknown>>
  try {
    facts = JSON.parse(line) as Readonly<Record<string, unknown>>
  } catch {
    return line.trimEnd()
  }
  const { time, level, msg, err } = facts
  const more = Object.entries(facts).flatMap(([name, value]) =>
    hidden.includes(name) ? [] : [`${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`],
  )
  const stack = (err as { readonly stack?: unknown } | undefined)?.stack
  const text = `${String(time).slice(11, 19)} ${String(level).padEnd(6)} ${msg}${more.length > 0 ? ` (${more.join(' ')})` : ''}`
  return typeof stack === 'string' ? `${text}\n${stack}` : text
}
