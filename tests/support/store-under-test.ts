import type { Database } from '#control/store/database.ts'
import { append } from '#control/store/stream-writes.ts'

/** A store of which a suite says what it promises; `db` is open while its tests run. */
export type StoreUnderTest = {
  readonly kind: 'embedded' | 'postgres'
  readonly db: Database
  /** Meshes share one database: each test takes one of its own. */
  readonly freshMesh: () => string
  /** Called with every statement before it runs; throws where a test says so. */
  readonly hook: { onStatement: ((text: string) => void) | undefined }
}

export const change = (key: string, value: number | undefined) => ({
  key,
  body: value === undefined ? undefined : { value },
})

export const put = (
  { db }: StoreUnderTest,
  mesh: string,
  stream: string,
  key: string,
  value: number | undefined,
  now = 1,
) => db.transact((tx) => append(tx, { mesh, stream }, [change(key, value)], now))
