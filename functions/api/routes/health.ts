import { loadAuthorities } from '#control/store/authorities.ts'
import type { Api, Door } from '#functions/api/door.ts'

/** `/healthz`: the process turns. `/readyz`: the database answers and what was known at the start is published. */
export function healthRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.get('/healthz', (c) => c.json({ status: 'ok', version: door.version, time: centre.now() }))
  api.get('/readyz', async (c) => {
    const store = await centre.db
      .read((tx) => loadAuthorities(tx, centre.mesh))
      .then(
        () => 'ok',
        () => 'away',
      )
    const published = door.ready() ? 'ok' : 'starting'
    const ready = store === 'ok' && published === 'ok'
    return c.json({ status: ready ? 'ok' : 'not ready', store, published }, ready ? 200 : 503)
  })
}
