import { expect, test } from 'vitest'
import { banners, centreBadge, clusterCards, countedLine, legend } from './board.js'
import { placeDots } from './strip.js'

const now = 1_800_000_000_000
const request = (agoMs: number, reviews: string | undefined) => ({
  ...{ atMs: now - agoMs, ok: reviews !== undefined, ms: 5 },
  clusterByService: reviews === undefined ? {} : { reviews },
})
const cluster = (name: string, state: string) => ({
  ...{ name, region: 'us-east-1', state, knowsSinceMs: now - 12_400, revision: 41 },
})
const state = {
  clusters: [cluster('virginia-1', 'alive'), cluster('ireland-1', 'dead')],
  centre: { state: 'alive', revision: 41 },
  requests: [
    request(100, 'virginia-1'),
    request(200, 'virginia-1'),
    request(300, undefined),
    request(20_000, 'ireland-1'),
  ],
  counted: { requests: 12_345, failed: 0, crossCluster: 6172 },
  shifts: [],
}
const text = (html: string) => html.replace(/<[^>]+>/g, ' ').replace(/\s+/g, ' ')

test('a card says its state, how old what it knows is, and its share of the last seconds; one that is gone is grey', () => {
  const cards = clusterCards(state, 'reviews', now)
  expect(text(cards)).toContain('virginia-1 alive us-east-1 knows 12 s old revision 41 100 % of reviews')
  expect(cards).toContain('class="member gone" data-key="ireland-1"')
  expect(cards).toContain('class="member k0" data-key="virginia-1"')
})

test('the centre’s badge says for how long it is away and what is served meanwhile', () => {
  const away = { centre: { state: 'dead', awaySinceMs: now - 12_000, revision: 41 } }
  expect(text(centreBadge(away, now))).toContain('centre away 12 s, serving revision 41')
  expect(centreBadge(state, now)).not.toContain('away')
})

test('what failed is never left out of the counts', () => {
  expect(text(legend(state, 'reviews', now))).toContain('virginia-1 67 % failed 33 %')
  expect(text(countedLine(state))).toContain('12 345 requests since start, 0 failed, 50 % crossed clusters')
})

test('every shift is a banner, newest first, older ones behind a click', () => {
  const shift = (n: number) => ({
    ...{ id: n, atMs: now - n * 1000, service: 'reviews', from: 'ireland-1', to: ['virginia-1', 'virginia-2'] },
    ...{ failed: 0, of: 40 + n, cause: `cause ${n}` },
  })
  const html = banners({ shifts: [shift(3), shift(1), shift(2), shift(6), shift(5), shift(7), shift(4)] }, [])
  expect(text(html)).toMatch(/\d\d:\d\d:\d\d reviews ireland-1 → virginia-1 , virginia-2 0 of 41 failed cause 1 /)
  expect([...html.matchAll(/cause (\d)</g)].map(([, n]) => n).join('')).toBe('1234567')
  expect(html.slice(0, html.indexOf('2 earlier')).match(/class="shift/g)).toHaveLength(5)
})

test('what others said is never markup', () => {
  const odd = '<img src=x onerror=alert(1)>"\''
  const said = { id: odd, atMs: now, service: odd, from: odd, to: odd, failed: odd, of: odd, cause: odd }
  const all = [
    banners({ shifts: [said] }, [odd]),
    clusterCards({ ...state, clusters: [{ ...cluster(odd, odd), region: odd, revision: odd }] }, odd, now),
    centreBadge({ centre: { state: odd, revision: odd } }, now),
    centreBadge({ centre: { state: odd, awaySinceMs: now, revision: odd } }, now),
    legend({ requests: [request(1, odd)] }, 'reviews', now),
  ].join('')
  expect(all).not.toMatch(/<img|="[^"]*'/)
})

test('every request of the last minute has a dot of its own inside the strip, and stands in its second', () => {
  const requests = Array.from({ length: 3000 }, (_, n) => request(n * 20, 'virginia-1'))
  const dots = placeDots(requests, { now, width: 960, height: 100 })
  expect(new Set(dots.map(({ x, y }) => `${x.toFixed(3)} ${y.toFixed(3)}`)).size).toBe(dots.length)
  expect(dots.length).toBeGreaterThan(2940)
  for (const { x, y, size, one } of dots as { x: number; y: number; size: number; one: { atMs: number } }[]) {
    expect(Math.floor(x / 16)).toBe(59 - (Math.floor(now / 1000) - Math.floor(one.atMs / 1000)))
    expect([x >= 0, y >= -0.001, x + size <= 960, y + size <= 100.001]).toEqual([true, true, true, true])
  }
})
