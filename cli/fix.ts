import type { Problem, ProblemKind } from '#mesh/model/problem.ts'

/** How this command is called inside a clone; what we print can be typed as it stands. */
export const self = 'npx --no isthmus'

/** The command that mends a refusal of the centre, by its kind; none where its own words name one already. */
const fixes: Partial<Readonly<Record<ProblemKind, string>>> = {
  unauthenticated: 'give a good key: --key-file <file>, ISTHMUS_API_KEY, or a context (isthmus context list)',
  forbidden: 'use a key with a higher role; an administrator sees them: isthmus get operator-keys',
  'not-found': 'see what there is: isthmus get <noun>, e.g. isthmus get clusters',
  stale: 'read it again: isthmus get <noun> <name>, then repeat',
  'too-many': 'wait a moment, then repeat',
  internal: 'repeat it; if it stays so, the log of the centre says more',
}

/** Our commands in a text, as they are typed here: who wrote the text (the centre, perhaps) cannot know how. */
export const typeable = (text: string): string =>
  text.replace(
    /(?<!--no |[\w/-])isthmus (?=(?:get|status|cluster|token|apply|delete|context|help|serve|relay|proxy|--url)\b)/g,
    `${self} `,
  )

/** What a person reads of a problem: what failed and why, every violation, and what mends it. Ends with a line break. */
export function problemText(problem: Problem): string {
  const { kind, message, violations } = problem
  const named = /isthmus [a-z]|--[a-z]|see:|known:|npm start/.test(message)
  const fix = named ? undefined : fixes[kind]
  return [
    `isthmus: ${typeable(message)}`,
    ...(violations.length > 1 ? violations.map((one) => `  ${one.path}: ${one.reason}`) : []),
    ...(fix === undefined ? [] : [`  to mend it: ${typeable(fix)}`]),
    '',
  ].join('\n')
}
