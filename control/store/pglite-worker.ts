import { openAsBlob } from 'node:fs'
import { setImmediate as breathe } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { type FlightAnswer, type FlightStatement, pgliteFlights } from '#control/store/pglite-flight.ts'

/**
 * The embedded database in a thread of its own, so that a long query never stalls the process. PGlite resolves its
 * promises without ever giving the event loop a turn (measured: 26,104 queries, not one timer), hence the turn after each
 * flight.
 */
export type WorkerRequest = readonly WorkerStatement[]
export type WorkerStatement = FlightStatement & { readonly id: number }
export type WorkerAnswer = FlightAnswer & { readonly id: number }

const port = parentPort
if (!port) throw new Error('pglite-worker.ts runs as a worker thread only')

const { dir, archive } = workerData as { readonly dir?: string; readonly archive?: string }
const database = await PGlite.create({
  ...(dir === undefined ? {} : { dataDir: dir }),
  ...(archive === undefined ? {} : { loadDataDir: await openAsBlob(archive) }),
  // Small buffers and little write-ahead log kept: a centre of 200 clusters holds tens of megabytes.
  // Named statements are planned each time they run: a plan made while a table is small would stay when it is large, and
  // nothing here gathers statistics that would end it (seen: a look at 200 keys that reads the whole table, for seconds).
  startParams: [
    ...PGlite.defaultStartParams,
    ...['-c', 'shared_buffers=24MB', '-c', 'max_wal_size=64MB', '-c', 'plan_cache_mode=force_custom_plan'],
  ],
})
const flights = pgliteFlights(database)

let last: Promise<void> = Promise.resolve()
port.on('message', (request: WorkerRequest | 'close') => {
  last = last.then(() => (request === 'close' ? close() : answer(request)))
})
port.postMessage([{ id: 0, rows: [] }] satisfies WorkerAnswer[])

async function answer(request: WorkerRequest): Promise<void> {
  const answers = await flights(request).catch((error: unknown): FlightAnswer[] => {
    const { message, code } = error as { readonly message: string; readonly code?: string }
    return request.map(() => ({ error: { message, code } }))
  })
  port?.postMessage(
    request.map(({ id }, n): WorkerAnswer => ({ id, ...(answers[n] ?? { error: { message: 'was not answered' } }) })),
  )
  await breathe()
}

async function close(): Promise<void> {
  await database.close()
  port?.close()
}
