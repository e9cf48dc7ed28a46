/**
 * Runs one statement and gives back its rows: arrays for `all`, objects for `execute`. Throws the driver's error, whose
 * `code` is the SQLSTATE.
 */
export type Run = (text: string, params: readonly unknown[], method: 'all' | 'execute') => Promise<Rows>
export type Rows = { readonly rows: unknown[] }

/** What differs between the embedded database and a server. */
export type Engine = {
  readonly kind: 'embedded' | 'postgres'
  /**
   * One transaction: begin, `work`, commit; a rollback where `work` or any of its statements failed, caught or not.
   * Then, on the embedded engine and before anybody else's turn, `after`.
   */
  transaction<T>(work: (run: Run) => Promise<T>, after?: (run: Run) => Promise<void>): Promise<T>
  /** One statement by itself, never inside somebody's open transaction. */
  readonly run: Run
  close(): Promise<void>
}

/** The SQLSTATE of an error, looked for along its causes. */
export function sqlStateOf(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { code } = at as { readonly code?: unknown }
    if (typeof code === 'string') return code
  }
  return undefined
}
