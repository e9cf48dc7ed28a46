import { refusal } from '#cli/failure.ts'

/** Tells a person of one step of several: its name, and what was found or done. */
export type Say = (step: string, text: string) => void

/** Lines in two columns; a step that goes on names itself once. */
export function sayer(print: (line: string) => void, width = 11): Say {
  let last = ''
  return (step, text) => {
    print(`${(step === last ? '' : step).padEnd(width)} ${text}\n`)
    last = step
  }
}

export type Waiting = {
  readonly say: Say
  /** Milliseconds that never go back. */
  readonly now: () => number
  readonly pause: (ms: number) => Promise<void>
  /** How long a step may wait. */
  readonly timeoutMs: number
}

/** What a look found: done, or why not yet; `stuck` = it will not go on by itself. */
export type Look<T> =
  | { readonly done: T }
  | { readonly why: string; readonly on: string; readonly mend: string; readonly isStuck?: boolean }

const lookMs = 500

/** Looks until it is done, and says each new reason. Throws `unavailable` with the last one where it takes too long, or is stuck. */
export async function waitFor<T>(
  { say, now, pause, timeoutMs }: Waiting,
  step: string,
  look: () => Promise<Look<T>>,
): Promise<T> {
  const begun = now()
  for (let said = ''; ; ) {
    const seen = await look()
    if ('done' in seen) return seen.done
    const { why, on, mend, isStuck } = seen
    const isLate = now() - begun >= timeoutMs
    if (isStuck || isLate)
      throw refusal({
        ...{ kind: 'unavailable', on },
        why: isStuck ? why : `${why}; it was waited for ${Math.round(timeoutMs / 1000)} s`,
        mend: `${mend}; then repeat the command, which goes on from here`,
      })
    if (why !== said) say(step, why)
    said = why
    await pause(lookMs)
  }
}
