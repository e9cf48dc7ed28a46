import { expect, test } from 'vitest'
import { page } from './page.ts'
import type { PageView } from './services.ts'

const served = { cluster: 'virginia-1', version: 'v1', pod: 'p' }
const caller = 'spiffe://virginia-1.mesh1/ns/bookinfo/sa/bookinfo-productpage'
const view: PageView = {
  served,
  details: { ms: 5.2, body: { id: 0, author: 'W', year: 1595, served: { ...served, cluster: 'virginia-2', caller } } },
  reviews: { ms: 8000, failed: '503 <script>alert(1)</script>' },
}

test('each part shows its service, version, cluster, time and the caller that it saw', () => {
  const text = page(view).replace(/<[^>]+>/g, '')
  for (const said of ['details v1', 'virginia-2', '5.2 ms', caller]) expect(text).toContain(said)
})

test('a part that failed says why, and what others said is never markup', () => {
  const html = page(view)
  expect(html).toContain('Sorry, product reviews are currently unavailable.')
  expect(html).not.toContain('<script>alert')
})
