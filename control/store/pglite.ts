import { once } from 'node:events'
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import type { Engine, Rows, Run } from '#control/store/engine.ts'
import { openGate } from '#control/store/gate.ts'
import type { WorkerAnswer, WorkerRequest, WorkerStatement } from '#control/store/pglite-worker.ts'
import { statementNames } from '#control/store/statement-names.ts'
import { transaction } from '#control/store/transaction.ts'
import { Problem } from '#mesh/model/problem.ts'

const waitingMax = 1000

/**
 * The embedded engine on directory `dir` (in memory without one): PGlite in a worker thread, one transaction at a time
 * in the order of asking; statements that are run without waiting for each other go there together. It has one connection,
 * so a single statement waits for the open transaction too: it would otherwise read what is not committed. A new
 * database begins as a copy of `template` where that is given: a directory, or in memory the tar archive beside it.
 * Throws when the directory cannot be opened as a database.
 */
export async function openPglite(dir: string | undefined, template?: string): Promise<Engine> {
  if (dir === undefined) return openThread(dir, template && `${template}.tar`)
  if (!existsSync(dir)) await makePglite(dir, template)
  return openThread(dir)
}

/**
 * Makes a fresh database beside `dir` and renames it when it is whole, so a start that was cut short leaves nothing that
 * looks like one. The thread that made it holds half a gigabyte and is ended.
 */
async function makePglite(dir: string, template: string | undefined): Promise<void> {
  const fresh = `${dir}.new`
  rmSync(fresh, { recursive: true, force: true })
  if (template === undefined) await (await openThread(fresh)).close()
  else cpSync(template, fresh, { recursive: true })
  renameSync(fresh, dir)
}

async function openThread(dir: string | undefined, archive?: string): Promise<Engine> {
  keepWasmCode()
  const worker = new Worker(new URL('./pglite-worker.ts', import.meta.url), { workerData: { dir, archive } })
  const waiting = new Map<number, { readonly resolve: (rows: Rows) => void; readonly reject: (e: Error) => void }>()
  const names = statementNames()
  let flight: WorkerStatement[] = []
  const post = () => {
    const asked = flight
    flight = []
    try {
      worker.postMessage(asked satisfies WorkerRequest)
    } catch (error) {
      for (const { id } of asked) {
        waiting.get(id)?.reject(error as Error)
        waiting.delete(id)
      }
    }
  }
  let fault: Error | undefined
  let nextId = 1
  const stop = (error: Error) => {
    fault ??= error
    for (const { reject } of waiting.values()) reject(fault)
    waiting.clear()
  }
  const ready = new Promise<void>((resolve, reject) => {
    waiting.set(0, { resolve: () => resolve(), reject })
  })
  worker.on('message', (answers: readonly WorkerAnswer[]) => {
    for (const answer of answers) {
      const asked = waiting.get(answer.id)
      waiting.delete(answer.id)
      if ('rows' in answer) asked?.resolve(answer)
      else asked?.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }))
    }
  })
  worker.on('error', (cause) => stop(broken(cause)))
  worker.on('exit', (code) => stop(broken(new Error(`the database thread ended with ${code}`))))
  await ready

  const direct: Run = (text, params, method) => {
    if (fault) return Promise.reject(fault)
    const id = nextId++
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject })
      if (flight.length === 0) process.nextTick(post)
      flight.push({ id, text, name: names.of(text), params, arrays: method === 'all' })
    })
  }
  const gate = openGate(1, waitingMax)
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    const leave = await gate.enter()
    try {
      return await work()
    } finally {
      leave()
    }
  }
  return {
    kind: 'embedded',
    run: (...statement) => alone(() => direct(...statement)),
    transaction: (work, after) =>
      alone(async () => {
        const result = await transaction(direct, work)
        await after?.(direct)
        return result
      }),
    close: async () => {
      if (fault) return
      fault = new Problem('unavailable', 'the database is closed')
      const gone = once(worker, 'exit')
      worker.postMessage('close')
      await gone
    },
  }
}

/**
 * Has V8 collect no machine code of WebAssembly any more, in the whole process. That of Node 24 (13.6) may free a piece of
 * it twice: where the collector holds for dead what another thread takes out of the cache of wrappers that all threads
 * share. It ends the process (`Check failed: jit_page.has_value()`, from `WasmEngine::FreeDeadCode`; nodejs/node#64500;
 * a later V8 asks first whether the wrapper is dying). Seen once in some dozen runs of a test that opens one database after
 * the other. What is dead goes with its thread's module now: some megabytes, of the three that an engine's code has.
 */
const keepWasmCode = () => setFlagsFromString('--no-wasm-code-gc')

const broken = (cause: unknown): Problem =>
  new Problem(
    'unavailable',
    'the embedded database has stopped: restart the centre; its directory keeps what was stored',
    {
      cause,
    },
  )
