import { type Log, redact } from '#gateway/proxy/log.ts'

/** Envoy's flag for the lines that `envoyLog` reads: level, logger, message. */
export const envoyLogFormat = '%l\t%n\t%v'

const levels = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'error',
} as const
type Level = (typeof levels)[keyof typeof levels]
const levelOf = (mark: string): Level | undefined => Object.entries(levels).find(([name]) => name === mark)?.[1]

/**
 * Takes Envoy's lines, one by one, into the log; what belongs to a longer message keeps its level. A rejected secret is
 * printed with its key over several lines: these are left out, from BEGIN to END.
 */
export function envoyLog(log: Pick<Log, Level>): (line: string) => void {
  let level: Level = 'warn'
  let inKey = false
  return (line) => {
    const wasInKey = inKey
    const edge = [...line.matchAll(/-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----/g)].at(-1)
    if (edge) inKey = edge[1] === 'BEGIN'
    if (wasInKey) return
    const [mark = '', name = '', ...rest] = line.split('\t')
    const own = rest.length > 0 ? levelOf(mark) : undefined
    level = own ?? level
    log[level]({ envoy: own ? name : 'more' }, redact(own ? rest.join('\t') : line).slice(0, 4_096))
  }
}
