import type { Problem } from '#mesh/model/problem.ts'

/**
 * How our command is called inside a clone; what we print can be typed as it stands. Without the two dashes npx takes
 * options that come first (`--context`, `--help`) for its own. Source: `npm help npx`.
 */
export const self = 'npx --no -- isthmus'

/** Our commands in a text, as they are typed here: who wrote the text (the centre, perhaps) cannot know how. */
export const typeable = (text: string): string =>
  text.replace(
    /(?<!--no -- |[\w/-])isthmus (?=(?:--)?(?:get|status|clusters?|services|exports|imports|endpoints|gateways|proxies|events|token|key|apply|delete|context|discover|check|version|completion|help|serve|relay|proxy|sandbox|manifests|trust|url|explain|why|drain|undrain|freeze|unfreeze|traffic|history|diff|plan|rehearse|simulate|rollback|inject|redirect)\b)/g,
    `${self} `,
  )

/** What came from elsewhere (a file that another mesh gave) moves no cursor and rings no bell. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const moving = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g

/**
 * What a person reads of a problem, the same lines for all of them: what failed and why, every violation where there are
 * several, the object, and what mends it. `what` is the command (`token create oslo`), empty where there is none;
 * `mends` stands where the problem does not say itself what mends it. Ends with a line break.
 */
export function failureText(what: string, problem: Problem, mends: string): string {
  const { violations, extra } = problem
  const { why, mend } = saidIn(problem.message)
  const on = extra['on'] ?? `isthmus ${what}`.trim()
  return [
    `isthmus: ${what && `${what} failed: `}${typeable(why)}`,
    ...(violations.length > 1 ? violations.map((one) => `  ${one.path}: ${one.reason}`) : []),
    `  on          ${on}`,
    `  to mend it  ${typeable(String(extra['mend'] ?? mend ?? mends))}`,
    '',
  ]
    .join('\n')
    .replace(moving, '?')
}

/** The command that the words of the centre end in (`…: isthmus token create oslo`, `…; see: …`), apart from the rest. */
function saidIn(message: string): { readonly why: string; readonly mend?: string } {
  const [, why, mend] = /^(.+?)(?:; see)?: (isthmus [a-z].*)$/s.exec(message) ?? []
  return why === undefined || mend === undefined
    ? { why: message }
    : { why: why.replace(/[:;,] [a-z ]+ with$/, ''), mend }
}
