import { failureText as textOf } from '#mesh/model/failure-text.ts'
import { Problem, type ProblemKind, type Violation } from '#mesh/model/problem.ts'

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

/** What a person reads of a problem that ended the command `what`; ends with a line break. */
export const failureText = (what: string, problem: Problem): string => textOf(what, problem, mends[problem.kind])
