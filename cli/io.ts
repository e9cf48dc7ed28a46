import type { Send } from '#cli/send.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Everything that a run of the command line touches beside files: so that a test has it in hand. */
export type Io = {
  readonly env: Environment
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  /** Unix ms. */
  readonly now: () => number
  /** Whether standard output is a terminal that shows colours. */
  readonly colour: boolean
  /** Columns of the terminal; absent = as many as it takes. */
  readonly columns?: number
  readonly send: Send
}

/** Colours are for terminals, and only where nobody asked for none. Source: no-color.org. */
export const wantsColour = (env: Environment, isTerminal: boolean): boolean =>
  isTerminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
