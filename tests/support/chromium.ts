import { type Browser, chromium, type Page } from 'playwright-core'
import { fetchChromium, findChromium } from '#infra/setup/chromium.js'

/** A real Chromium without a window: the one that `npm test` fetched before, or fetched now. Throws where there is none. */
export async function openChromium(): Promise<Browser> {
  const { path, env } = (await findChromium()) ?? (await fetchChromium())
  const known = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
  // Its sandbox needs a user of its own or a kernel that lets everybody make namespaces; it sees the page of this machine only.
  return await chromium.launch({ executablePath: path, env: Object.fromEntries(known), args: ['--no-sandbox'] })
}

/** What a page did that it should not: errors, refusals of its own policy, requests to anybody but its own host. */
export function watchManners(page: Page, host: string): string[] {
  const bad: string[] = []
  page.on('pageerror', (error) => bad.push(`error: ${error.message}`))
  page.on('console', (message) => {
    // A sandbox that ends cuts connections, and the browser says so.
    if (message.type() === 'error' && !/net::ERR_|502|503/.test(message.text())) bad.push(`console: ${message.text()}`)
  })
  page.on('request', (request) => {
    const { protocol, host: asked } = new URL(request.url())
    if (protocol !== 'data:' && asked !== host) bad.push(`request to ${asked}`)
  })
  return bad
}
