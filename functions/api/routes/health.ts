import { loadAuthorities } from '#control/store/authorities.ts'
import type { Api, Door } from '#functions/api/door.ts'

/** Anybody may ask: the database is asked no more often than this. */
const lookMs = 1000

const advice = {
  ok: [],
  'takes no writes': [
    'the store answers and takes no writes: free space on the disk of the data directory (with DATABASE_URL: of the ' +
      'database server, or let it be written to); what is published is delivered meanwhile, and writes go on by themselves',
  ],
  away: ['the store does not answer: start the database, or the centre anew; relays serve what they have meanwhile'],
} as const
type Store = keyof typeof advice

/**
 * `/healthz`: the process turns. `/readyz`: the database took a write within the last second, and what was known at the
 * start is published. `attention` says what needs a hand, also while all is ready.
 */
export function healthRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.get('/healthz', (c) => c.json({ status: 'ok', version: door.version, time: centre.now() }))
  const looked = { at: Number.NEGATIVE_INFINITY, store: Promise.resolve<Store>('away') }
  const store = (): Promise<Store> => {
    const at = performance.now()
    if (at - looked.at >= lookMs) {
      looked.at = at
      looked.store = look()
    }
    return looked.store
  }
  api.get('/readyz', async (c) => {
    const seen = await store()
    const published = door.ready() ? 'ok' : 'starting'
    const ready = seen === 'ok' && published === 'ok'
    const attention = [...advice[seen], ...door.attention()]
    return c.json(
      { status: ready ? 'ok' : 'not ready', store: seen, published, ...(attention.length > 0 ? { attention } : {}) },
      ready ? 200 : 503,
    )
  })

  async function look(): Promise<Store> {
    try {
      await centre.db.probe()
      return 'ok'
    } catch (err) {
      centre.log.warn({ err }, 'the store takes no writes')
    }
    const reads = centre.db.read((tx) => loadAuthorities(tx, centre.mesh))
    return reads.then(
      () => 'takes no writes',
      () => 'away',
    )
  }
}
