import { mkdtempSync, rmSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { readJournal } from '#control/store/journal-file.ts'
import { openApi } from '#functions/api/app.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

/** A disk that fills up: whatever is open for writing takes no more. */
const disk = vi.hoisted(() => ({ full: false }))
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  const open = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    const handle = await real.open(...args)
    const write = handle.write.bind(handle) as (...given: unknown[]) => Promise<unknown>
    const bounded = (...given: unknown[]) =>
      disk.full
        ? Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
        : write(...given)
    return Object.assign(handle, { write: bounded }) as FileHandle
  }
  return { ...real, default: { ...real, open }, open }
})

const dir = mkdtempSync(join(tmpdir(), 'health-'))
let db: Database
let centre: TestCentre
beforeAll(async () => {
  db = await openTestDatabase({ dir: join(dir, 'data') })
  centre = await openTestCentre({ db, dir })
})
afterAll(async () => {
  disk.full = false
  await db.close()
  rmSync(dir, { recursive: true, force: true })
})

/** As a process that has not looked within the last second. */
async function readyz(attention: readonly string[] = []) {
  const response = await openApi({ ...centre.door, attention: () => attention }).request('/readyz')
  return { status: response.status, body: await response.json() }
}

test('a full disk: not ready, and what to do; once there is room, ready, and nothing acknowledged is missing', async () => {
  expect(await readyz()).toEqual({ status: 200, body: { status: 'ok', store: 'ok', published: 'ok' } })
  disk.full = true
  const full = {
    status: 503,
    body: {
      ...{ status: 'not ready', store: 'takes no writes', published: 'ok' },
      attention: [expect.stringContaining('free space on the disk of the data directory')],
    },
  }
  expect(await readyz()).toEqual(full)
  expect((await centre.admin('PUT', '/v1/clusters/late', {})).status).toBe(503)
  expect((await centre.admin('PUT', '/v1/clusters/later', {})).status).toBe(503)
  expect(await readyz()).toEqual(full)
  expect((await centre.admin('GET', '/v1/clusters')).status).toBe(200)

  disk.full = false
  expect((await readyz()).status).toBe(200)
  expect((await centre.admin('PUT', '/v1/clusters/last', {})).status).toBe(201)
  const text = JSON.stringify(readJournal(join(dir, 'data', 'journal'))?.records)
  expect(['"late"', '"later"', '"last"'].map((name) => text.includes(`"name":${name}`))).toEqual([true, false, true])
})

test('what else needs a hand is said, also while all is ready', async () => {
  expect(await readyz(['publishing fails'])).toMatchObject({ status: 200, body: { attention: ['publishing fails'] } })
})
