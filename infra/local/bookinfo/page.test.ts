import { expect, test } from 'vitest'
import { asset, browserHeaders } from './assets.ts'
import { page } from './page.ts'
import { roadOf } from './road.ts'
import type { PageView } from './services.ts'

const served = { cluster: 'virginia-1', version: 'v1', pod: 'p' }
const caller = 'spiffe://virginia-1.mesh1/ns/bookinfo/sa/bookinfo-productpage'
const view: PageView = {
  served,
  details: { ms: 5.2, body: { id: 0, author: 'W', year: 1595, served: { ...served, cluster: 'virginia-2', caller } } },
  reviews: { ms: 8000, failed: '503 <script>alert(1)</script>' },
}

test('each answer shows its service, version, cluster, time and the caller that it saw', () => {
  const text = page(view).replace(/<[^>]+>/g, '')
  for (const said of ['details v1', 'virginia-2', '5.2 ms', caller]) expect(text).toContain(said)
})

test('what details heard of ratings has a card and a road of its own, and counts among the clusters of the view', () => {
  const body = { id: 0, author: 'W', year: 1595, stars: 4.5, served: { ...served, cluster: 'virginia-2', caller } }
  const asked = { ms: 2, served: { ...served, caller: 'spiffe://virginia-2.mesh1/ns/bookinfo/sa/bookinfo-details' } }
  const home = { ...served, cluster: 'ireland-1' }
  const html = page({ ...view, served: home, details: { ms: 5, body: { ...body, ratings: asked } } })
  expect(html.replace(/<[^>]+>/g, '')).toContain('was answered by ireland-1, virginia-2, virginia-1')
  const card = html.slice(html.indexOf('data-key="ratings-details"'))
  expect(card.replace(/<[^>]+>/g, ' ')).toMatch(
    /ratings +v1 +for details.*details v1.*east-west gateway of virginia-1/s,
  )
  const none = { ms: 1, failed: '502 isthmus: no service', notExportedSince: 0 }
  expect(page({ ...view, details: { ms: 5, body: { ...body, ratings: none } } })).toMatch(
    /data-notice="ratings is not exported to virginia-2 since/,
  )
})

test('a part that failed says why, and what others said is never markup', () => {
  const html = page(view)
  expect(html).toContain('Sorry, product reviews are currently unavailable.')
  expect(html).not.toContain('<script>alert')
})

test('a road crosses the gateway of the other cluster, and none at home', () => {
  const from = { ...served, app: 'productpage' }
  const stations = (cluster: string) => roadOf('details', from, { ...served, cluster, caller }).map((one) => one.who)
  expect(stations('virginia-1')).toEqual([
    ...['productpage v1', 'Envoy beside productpage', 'Envoy beside details', 'details v1'],
  ])
  expect(stations('virginia-2')[2]).toBe('east-west gateway of virginia-2')
})

test('what is not exported is told with the cluster that misses it and since when', () => {
  const noticed = page({ ...view, reviews: { ms: 1, failed: '502 isthmus: no service', notExportedSince: 0 } })
  expect(noticed).toMatch(/data-notice="reviews is not exported to virginia-1 since \d\d:\d\d:\d\d"/)
  expect(page(view)).not.toContain('is not exported')
})

test('the page lets nothing run that is not one of its files, and loads nothing from elsewhere', () => {
  const html = page(view)
  expect(html).not.toMatch(/<script>|<style|style="|\son[a-z]+="|(?:src|href|action)="\w+:\/\//)
  expect(browserHeaders['content-security-policy']).not.toMatch(/unsafe|https?:|\*/)
  const loaded = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path ?? '')
  const texts = loaded.map((path) => asset(path)?.text ?? '')
  const imported = texts.flatMap((text) =>
    [...text.matchAll(/from '\.\/([^']+)'/g)].map(([, name]) => `/assets/${name}`),
  )
  expect(loaded).toHaveLength(2)
  for (const path of [...loaded, ...imported]) expect(asset(path), path).toBeDefined()
  for (const path of ['/assets/../main.ts', '/assets/main.ts', '/assets/']) expect(asset(path)).toBeUndefined()
})
