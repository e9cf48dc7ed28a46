import type { Problem, ProblemKind } from '#mesh/model/problem.ts'

/** The command that mends a refusal of the centre, by its kind; none where its own words name one already. */
const fixes: Partial<Readonly<Record<ProblemKind, string>>> = {
  unauthenticated: 'give a good key: --key-file <file>, ISTHMUS_API_KEY, or a context (isthmus context list)',
  forbidden: 'use a key with a higher role; an administrator sees them: isthmus get operator-keys',
  'not-found': 'see what there is: isthmus get <noun>, e.g. isthmus get clusters',
  stale: 'read it again: isthmus get <noun> <name>, then repeat',
  'too-many': 'wait a moment, then repeat',
  internal: 'repeat it; if it stays so, the log of the centre says more',
}

/** What a person reads of a problem: what failed and why, every violation, and what mends it. Ends with a line break. */
export function problemText(problem: Problem): string {
  const { kind, message, violations } = problem
  const named = /isthmus [a-z]|--[a-z]|see:|npm start/.test(message)
  const fix = named ? undefined : fixes[kind]
  return [
    `isthmus: ${message}`,
    ...(violations.length > 1 ? violations.map((one) => `  ${one.path}: ${one.reason}`) : []),
    ...(fix === undefined ? [] : [`  to mend it: ${fix}`]),
    '',
  ].join('\n')
}
