import { loadAuthorities } from '#control/store/authorities.ts'
import type { Api, Door } from '#functions/api/door.ts'

/** Anybody may ask: the database is asked no more often than this. */
const lookMs = 1000

/**
 * `/healthz`: the process turns. `/readyz`: the database answered within the last second, and what was known at the start
 * is published.
 */
export function healthRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.get('/healthz', (c) => c.json({ status: 'ok', version: door.version, time: centre.now() }))
  const looked = { at: Number.NEGATIVE_INFINITY, store: Promise.resolve('away') }
  const store = (): Promise<string> => {
    const at = performance.now()
    if (at - looked.at >= lookMs) {
      looked.at = at
      looked.store = centre.db
        .read((tx) => loadAuthorities(tx, centre.mesh))
        .then(
          () => 'ok',
          () => 'away',
        )
    }
    return looked.store
  }
  api.get('/readyz', async (c) => {
    const seen = await store()
    const published = door.ready() ? 'ok' : 'starting'
    const ready = seen === 'ok' && published === 'ok'
    return c.json({ status: ready ? 'ok' : 'not ready', store: seen, published }, ready ? 200 : 503)
  })
}
