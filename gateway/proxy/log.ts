import pino, { type Logger } from 'pino'
import { plainLine } from '#gateway/proxy/plain-line.ts'
import { Problem } from '#mesh/model/problem.ts'

export type Log = Logger

/** Keys and tokens as they occur inside longer texts, e.g. in Envoy's message about a rejected secret. */
const secrets = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g,
  /(bearer )[A-Za-z0-9._~+/=-]{8,}/gi,
]

/** The same text without private keys and tokens. */
export const redact = (text: string): string =>
  secrets.reduce(
    (out, secret) => out.replace(secret, (_, before) => `${typeof before === 'string' ? before : ''}[redacted]`),
    text,
  )

/** Structured lines on stdout, plain ones where a person reads them on a terminal; whatever looks like a key or a token is cut out of the finished line. */
export function openLog(level: string, facts: Readonly<Record<string, string>>): Log {
  const stdout = pino.destination({ dest: 1, sync: true })
  // Whoever read this may be gone; that is no reason to take a working Envoy down.
  stdout.on('error', () => undefined)
  const forPeople = process.stdout.isTTY === true
  const options: pino.LoggerOptions = {
    level,
    base: facts,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['token', 'key', 'keyPem', 'authorization', '*.token', '*.key', '*.keyPem'],
      censor: '[redacted]',
    },
    serializers: { err: errorFacts },
    hooks: { streamWrite: (line) => `${forPeople ? plainLine(redact(line)) : redact(line.trimEnd())}\n` },
  }
  return pino(options, stdout)
}

/** A Problem's kind and causes in short (its message is the line's own); everything of an error nobody foresaw. */
function errorFacts(error: unknown): unknown {
  if (!(error instanceof Problem)) return error instanceof Error ? pino.stdSerializers.err(error) : error
  return { kind: error.kind, causes: causesOf(error.cause) }
}

const causesOf = (cause: unknown, depth = 0): readonly string[] =>
  cause instanceof Error && depth < 5 ? [cause.message || cause.name, ...causesOf(cause.cause, depth + 1)] : []
