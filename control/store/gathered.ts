import type { Database, Tx } from '#control/store/database.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Runs `work` as `database.transact` does, perhaps in one transaction with others'. */
export type Gathered = <T>(of: Share, work: (tx: Tx) => Promise<T>) => Promise<T>

/** `key`: what it locks first. `rows`: about how many it writes. */
export type Share = { readonly key: string; readonly rows: number }

type Asked = Share & {
  readonly run: (tx: Tx) => Promise<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Enough that a server has work while answers travel; each more is a transaction that carries fewer. */
const transactionsMax = { embedded: 1, postgres: 2 } as const
const togetherMax = 32
/** A transaction of few milliseconds: what is larger goes by itself, and holds up nobody. */
const rowsMax = 200
const waitingMax = 1000

const open = new WeakMap<Database, Gathered>()

/**
 * For small writes of many callers that have nothing to do with each other: those that ask while others are being stored
 * are stored together, so that their statements travel together and one commit stands for all. Who asks of an idle
 * database waits for nobody. At a hundred callers the way to the server and its commits were two thirds of all work.
 *
 * Where any of them fails, none of that transaction is stored, and each is run again by itself: nobody is told of another's
 * fault. Two of one key never run at a time; those of one transaction begin in the order of their keys.
 */
export function gathered(database: Database): Gathered {
  const known = open.get(database)
  if (known) return known
  const made = gatherer(database)
  open.set(database, made)
  return made
}

function gatherer(database: Database): Gathered {
  let waiting: Asked[] = []
  const busy = new Set<string>()
  let running = 0

  return (of, work) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= waitingMax)
        return reject(
          new Problem('unavailable', `the database is busy: ${waitingMax} writes wait for it; try again soon`),
        )
      waiting.push({
        ...of,
        run: work,
        resolve: (result) => resolve(result as Awaited<ReturnType<typeof work>>),
        reject,
      })
      go()
    })

  function go(): void {
    while (running < transactionsMax[database.kind]) {
      const some = next()
      if (some.length === 0) return
      running++
      void store(some).then(() => {
        for (const { key } of some) busy.delete(key)
        running--
        go()
      })
    }
  }

  function next(): Asked[] {
    const some: Asked[] = []
    let rows = 0
    waiting = waiting.filter((one) => {
      const fits = some.length === 0 || (some.length < togetherMax && rows + one.rows <= rowsMax)
      if (!fits || busy.has(one.key)) return true
      rows += one.rows
      busy.add(one.key)
      some.push(one)
      return false
    })
    return some.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  }

  async function store(some: readonly Asked[]): Promise<void> {
    try {
      const results = await database.transact((tx) => Promise.all(some.map(({ run }) => run(tx))))
      for (const [n, { resolve }] of some.entries()) resolve(results[n])
    } catch (error) {
      const isOurs = some.length === 1 || (error instanceof Problem && error.kind === 'unavailable')
      if (isOurs) for (const { reject } of some) reject(error)
      else await Promise.all(some.map(({ run, resolve, reject }) => database.transact(run).then(resolve, reject)))
    }
  }
}
