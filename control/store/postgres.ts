import { Socket } from 'node:net'
import pg from 'pg'
import type { Engine, Run } from '#control/store/engine.ts'
import { openGate } from '#control/store/gate.ts'
import { statementNames } from '#control/store/statement-names.ts'
import { transaction } from '#control/store/transaction.ts'
import { Problem } from '#mesh/model/problem.ts'

const connections = 10
const waitingMax = 1000
/** Longer than any transaction may last: a server that hangs gives its connection back. */
const queryMsMax = 20_000

/**
 * A server that speaks PostgreSQL's protocol, by ten connections at most. Statements that are run without waiting for each
 * other travel together. Nothing is kept in a connection but the statements that come again and again, by names that stand
 * for their texts; behind a pooler that mixes connections up, which the first fault of that kind tells, not even those.
 */
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
    pipeline: true,
    stream: gatheringSocket,
  })
  // The end of an idle connection is no error: the next request opens another.
  pool.on('error', ignore)
  const gate = openGate(connections, waitingMax)
  const names = statementNames()
  // A plan made while a table was small would stay when it is large. Where that cannot be forbidden, nothing has a name.
  pool.on('connect', (client) => {
    client.query("set plan_cache_mode = 'force_custom_plan'").catch((error: unknown) => {
      if (isRefused(error)) names.stop()
    })
  })
  const connected = async <T>(work: (run: Run) => Promise<T>): Promise<T> => {
    const leave = await gate.enter()
    try {
      const client = await pool.connect().catch(refuse)
      client.on('error', ignore)
      let broken = false
      let refused = false
      try {
        return await work((text, params, method) => {
          const name = params.length > 0 ? names.of(text) : undefined
          return client
            .query({
              ...{ text, values: [...params], ...(method === 'all' ? { rowMode: 'array' as const } : {}) },
              ...(name === undefined ? {} : { name }),
            })
            .catch((error: unknown) => {
              broken ||= !(error instanceof pg.DatabaseError)
              // What travels behind a statement that failed is not even read, so its name is unknown to the next.
              const isFirst = !refused
              refused = true
              if (name !== undefined && isFirst && isMisnamed(error)) {
                names.stop()
                broken = true
                throw Object.assign(new Error('named statements are not for this server', { cause: error }), again)
              }
              return refuse(error)
            })
        })
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

/** A socket that sends what is written within one turn at once: a system call for a flight of statements, not for each. */
function gatheringSocket(): Socket {
  const socket = new Socket()
  let gathering = false
  const flush = () => {
    gathering = false
    socket.uncork()
  }
  // Connecting puts the usual `write` back (Node, net.js), so ours comes after it.
  return socket.once('connect', () => {
    const { write } = socket
    socket.write = (...args: unknown[]) => {
      if (!gathering) {
        gathering = true
        socket.cork()
        process.nextTick(flush)
      }
      return Reflect.apply(write, socket, args)
    }
  })
}

/** The server knows no statement of that name, knows another, or cannot use it since the schema has changed. */
const isMisnamed = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && ['26000', '42P05', '0A000'].includes(error.code ?? '')
/** The server's own word, and not because it ends, or was told to end the statement (57): the next connection may do. */
const isRefused = (error: unknown): boolean => error instanceof pg.DatabaseError && !error.code?.startsWith('57')
/** As a lost race: the transaction runs again. */
const again = { code: '40001' }

const ignore = () => undefined

/** The server's own word goes on as it is; everything else is a connection that failed. */
function refuse(error: unknown): never {
  if (error instanceof pg.DatabaseError) throw error
  throw new Problem('unavailable', 'the database cannot be reached now', { cause: error })
}
