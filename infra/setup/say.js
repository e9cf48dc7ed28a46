/** What a person can mend: one sentence that says which part is missing, what it is for, and the command that gets it. */
export class SetupError extends Error {
  name = 'SetupError'
}

/** One progress line. On stderr, so that what a task prints on stdout stays its own. */
export const say = (line) => process.stderr.write(`isthmus: ${line}\n`)

/** Seconds since `start` (from performance.now()), for people: `2.1 s`. */
export const since = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`
