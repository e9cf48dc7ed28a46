import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { loadItems } from '#control/store/streams.ts'
import { describeLoads } from '#tests/support/load-store.ts'
import { describePolicyStore } from '#tests/support/policy-store.ts'
import { type Postgres, startPostgres } from '#tests/support/postgres.ts'
import { describeReports } from '#tests/support/report-store.ts'
import { subsetFault } from '#tests/support/sql-subset.ts'
import type { StoreUnderTest } from '#tests/support/store-under-test.ts'
import { openTestDatabase } from '#tests/support/stores.ts'
import { describeStreams } from '#tests/support/stream-store.ts'
import { describeTransactions } from '#tests/support/transactions-store.ts'
import { describeTrustStore } from '#tests/support/trust-store.ts'

// What the store promises, on every engine: one file for each noun in `tests/support`, one database for all of them.

describe.each(['embedded', 'postgres'] as const)('store on %s', (kind) => {
  let server: Postgres | undefined
  let db: Database
  let meshes = 0
  const hook: StoreUnderTest['hook'] = { onStatement: undefined }
  const statements = new Set<string>()
  const freshMesh = () => `mesh${++meshes}`
  const store: StoreUnderTest = {
    ...{ kind, freshMesh, hook },
    get db() {
      return db
    },
  }

  beforeAll(async () => {
    server = kind === 'postgres' ? await startPostgres() : undefined
    const onStatement = (text: string) => {
      if (text !== 'commit') statements.add(text)
      hook.onStatement?.(text)
    }
    db = await openTestDatabase({ url: server?.url, onStatement })
  })
  afterAll(async () => {
    await db.close()
    await server?.stop()
  })

  describeTransactions(store)
  describeStreams(store)
  describeReports(store)
  describeLoads(store)
  describeTrustStore(store)
  describePolicyStore(() => ({ db, mesh: freshMesh() }))

  test('every statement that was executed stays within the SQL that all engines share', async () => {
    await db.read((tx) => loadItems(tx, { mesh: 'none', stream: 'adv/x' }, ['a']))
    expect(statements.size).toBeGreaterThan(20)
    expect([...statements].map(subsetFault).filter((fault) => fault !== undefined)).toEqual([])
  })
})
