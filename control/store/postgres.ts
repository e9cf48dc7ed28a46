import postgres from 'postgres'
import type { Engine, Rows } from '#control/store/engine.ts'
import { openGate } from '#control/store/gate.ts'

const connections = 10
const waitingMax = 1000

/** A server that speaks PostgreSQL's protocol, by ten connections at most; nothing is kept in a connection. */
export function openPostgres(url: string): Engine {
  const sql = postgres(url, {
    max: connections,
    prepare: false,
    connect_timeout: 10,
    idle_timeout: 60,
    max_lifetime: 50 * 60,
    onnotice: () => undefined,
    connection: { application_name: 'isthmus' },
  })
  const gate = openGate(connections, waitingMax)
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    const leave = await gate.enter()
    try {
      return await work()
    } finally {
      leave()
    }
  }
  const on = async (
    client: Pick<postgres.Sql, 'unsafe'>,
    text: string,
    params: readonly unknown[],
    arrays: boolean,
  ) => {
    const query = client.unsafe(text, params as postgres.ParameterOrJSON<never>[])
    return { rows: [...(arrays ? await query.values() : await query)] } satisfies Rows
  }
  return {
    kind: 'postgres',
    run: (text, params, method) => alone(() => on(sql, text, params, method === 'all')),
    transaction: <T>(work: Parameters<Engine['transaction']>[0]) =>
      alone(
        () => sql.begin((tx) => work((text, params, method) => on(tx, text, params, method === 'all'))) as Promise<T>,
      ),
    close: () => sql.end({ timeout: 5 }),
  }
}
