import { getTableColumns, is, Placeholder, sql } from 'drizzle-orm'
import type { PgTable } from 'drizzle-orm/pg-core'
import type { Tx } from '#control/store/database.ts'
import { runOf } from '#control/store/run-of.ts'

type Values = Readonly<Record<string, string | number | boolean | null>>

/** A value that is given when the statement is run. */
export const given = (name: string) => sql`${sql.placeholder(name)}`

/**
 * A statement whose text is built once, for those that every report runs: building it took longer than the server with
 * it. It is sent before this comes back, so several that are started together travel together. Gives back rows as arrays.
 */
export function fixedStatement(
  build: (tx: Tx) => { toSQL(): { readonly sql: string; readonly params: readonly unknown[] } },
): (tx: Tx, values: Values) => Promise<readonly (readonly unknown[])[]> {
  let built: { readonly text: string; readonly params: readonly unknown[] } | undefined
  return async (tx, values) => {
    const run = runOf(tx)
    if (!built) {
      const { sql: text, params } = build(tx).toSQL()
      built = { text, params }
    }
    const params = built.params.map((param) => (is(param, Placeholder) ? values[param.name] : param))
    const { rows } = await run(built.text, params, 'all')
    return rows as unknown[][]
  }
}

/** Reads a row of all columns of a table, in their order. */
export function rowParser<T extends PgTable>(table: T): (row: readonly unknown[]) => T['$inferSelect'] {
  const columns = Object.entries(getTableColumns(table))
  return (row) => {
    const parsed: Record<string, unknown> = {}
    for (const [n, [name, column]] of columns.entries())
      parsed[name] = row[n] === null ? null : column.mapFromDriverValue(row[n])
    return parsed as T['$inferSelect']
  }
}
