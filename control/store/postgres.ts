import pg from 'pg'
import type { Engine, Run } from '#control/store/engine.ts'
import { openGate } from '#control/store/gate.ts'
import { transaction } from '#control/store/transaction.ts'
import { Problem } from '#mesh/model/problem.ts'

const connections = 10
const waitingMax = 1000
/** Longer than any transaction may last: a server that hangs gives its connection back. */
const queryMsMax = 20_000

/** A server that speaks PostgreSQL's protocol, by ten connections at most; nothing is kept in a connection. */
export function openPostgres(url: string): Engine {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    maxLifetimeSeconds: 50 * 60,
    query_timeout: queryMsMax,
    keepAlive: true,
    application_name: 'isthmus',
  })
  // The end of an idle connection is no error: the next request opens another.
  pool.on('error', ignore)
  const gate = openGate(connections, waitingMax)
  const connected = async <T>(work: (run: Run) => Promise<T>): Promise<T> => {
    const leave = await gate.enter()
    try {
      const client = await pool.connect().catch(refuse)
      client.on('error', ignore)
      let broken = false
      try {
        return await work((text, params, method) =>
          client
            .query({ text, values: [...params], ...(method === 'all' ? { rowMode: 'array' } : {}) })
            .catch((error: unknown) => {
              broken ||= !(error instanceof pg.DatabaseError)
              return refuse(error)
            }),
        )
      } finally {
        client.off('error', ignore)
        // After anything but the server's own word the state of the connection is unknown.
        client.release(broken)
      }
    } finally {
      leave()
    }
  }
  return {
    kind: 'postgres',
    run: (...statement) => connected((run) => run(...statement)),
    transaction: (work) => connected((run) => transaction(run, work)),
    close: () => pool.end(),
  }
}

const ignore = () => undefined

/** The server's own word goes on as it is; everything else is a connection that failed. */
function refuse(error: unknown): never {
  if (error instanceof pg.DatabaseError) throw error
  throw new Problem('unavailable', 'the database cannot be reached now', { cause: error })
}
