import type { CheckFacts, Known } from '#cli/onboard/check/facts.ts'

export type Result = 'ok' | 'warn' | 'fail' | 'unknown'

/** What a check came to: what was found, and what mends it where it is not well. */
export type Verdict = { readonly result: Result; readonly found: string; readonly fix?: string }

export type Check = {
  /** By which it is named in JSON and on the line. */
  readonly id: string
  /** What it looks at. */
  readonly looksAt: string
  /** What goes wrong where it is not well. */
  readonly why: string
  /** Whether it says anything of a cluster that is no member yet. */
  readonly pre: boolean
  readonly judge: (facts: CheckFacts) => Verdict
}

export type Finding = Omit<Check, 'judge' | 'pre'> & Verdict

export const ok = (found: string): Verdict => ({ result: 'ok', found })
export const warn = (found: string, fix: string): Verdict => ({ result: 'warn', found, fix })
export const fail = (found: string, fix: string): Verdict => ({ result: 'fail', found, fix })
export const unknown = (found: string): Verdict => ({ result: 'unknown', found })

/** The judgement of what is known; of what is not, that it is not, and why. */
export const of = <T>(fact: Known<T>, judge: (value: T) => Verdict): Verdict =>
  'value' in fact ? judge(fact.value) : unknown(fact.unknown)

/** Every check that applies, in their order. */
export const findingsOf = (checks: readonly Check[], facts: CheckFacts): Finding[] =>
  checks.map(({ judge, pre: _, ...check }) => ({ ...check, ...judge(facts) }))

/** 1 where something fails, else 2 where something could not be looked at, else 0. */
export function exitCodeOf(findings: readonly Finding[]): number {
  const has = (result: Result): boolean => findings.some((one) => one.result === result)
  if (has('fail')) return 1
  return has('unknown') ? 2 : 0
}
