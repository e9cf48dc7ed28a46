import { Problem, type ProblemKind, type Violation } from '#mesh/model/problem.ts'

/** How this command is called inside a clone; what we print can be typed as it stands. */
export const self = 'npx --no isthmus'

export type Refusal = {
  readonly kind: ProblemKind
  /** A sentence without a full stop. */
  readonly why: string
  /** The object that it is about: a file (with its line where there is one), or a URL. */
  readonly on: string
  /** The command that mends it, as `isthmus …`, or what else to do. */
  readonly mend: string
  readonly violations?: readonly Violation[]
  readonly cause?: unknown
}

/** A problem that says what every error of the command line says: why, on which object, and what mends it. */
export const refusal = ({ kind, why, on, mend, violations = [], cause }: Refusal): Problem =>
  new Problem(kind, why, { violations, cause, extra: { on, mend } })

/** The same problem, about `on`, and mended so, where it does not say so itself. */
export function placed(problem: Problem, { on, mend }: { readonly on?: string; readonly mend?: string }): Problem {
  const { kind, message, violations, extra, cause } = problem
  const more = { ...(on === undefined ? {} : { on }), ...(mend === undefined ? {} : { mend }), ...extra }
  return new Problem(kind, message, { violations, cause, extra: more })
}

/** What mends a refusal that does not say so itself, by its kind. */
const mends: Readonly<Record<ProblemKind, string>> = {
  invalid: 'isthmus --help',
  'too-large': 'isthmus --help',
  unauthenticated: 'isthmus context add <name> --key-file <file>, or ISTHMUS_API_KEY=<key>',
  forbidden: 'use a key with a higher role; an administrator makes one: isthmus key create <name> --role operator',
  'not-found': 'isthmus get clusters',
  conflict: 'isthmus status',
  stale: 'read it again, then repeat the command',
  'too-many': 'wait a moment, then repeat the command',
  unavailable: 'isthmus status',
  internal: 'repeat the command; if it stays so, the log of the centre says more',
}

/** Our commands in a text, as they are typed here: who wrote the text (the centre, perhaps) cannot know how. */
export const typeable = (text: string): string =>
  text.replace(
    /(?<!--no |[\w/-])isthmus (?=(?:--)?(?:get|status|clusters?|services|exports|imports|endpoints|gateways|proxies|events|token|key|apply|delete|context|version|completion|help|serve|relay|proxy|sandbox|url)\b)/g,
    `${self} `,
  )

/**
 * What a person reads of a problem, the same lines for all of them: what failed and why, every violation where there are
 * several, the object, and what mends it. `what` is the command (`token create oslo`), empty where there is none. Ends
 * with a line break.
 */
export function failureText(what: string, problem: Problem): string {
  const { kind, violations, extra } = problem
  const { why, mend } = saidIn(problem.message)
  const on = extra['on'] ?? `isthmus ${what}`.trim()
  return [
    `isthmus: ${what && `${what} failed: `}${typeable(why)}`,
    ...(violations.length > 1 ? violations.map((one) => `  ${one.path}: ${one.reason}`) : []),
    `  on          ${on}`,
    `  to mend it  ${typeable(String(extra['mend'] ?? mend ?? mends[kind]))}`,
    '',
  ].join('\n')
}

/** The command that the words of the centre end in (`…: isthmus token create oslo`, `…; see: …`), apart from the rest. */
function saidIn(message: string): { readonly why: string; readonly mend?: string } {
  const [, why, mend] = /^(.+?)(?:; see)?: (isthmus [a-z].*)$/s.exec(message) ?? []
  return why === undefined || mend === undefined
    ? { why: message }
    : { why: why.replace(/[:;,] [a-z ]+ with$/, ''), mend }
}
