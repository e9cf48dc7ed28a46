import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the page loads, all from the pod that served it, or from another pod of the same shop. */
const types: Readonly<Record<string, string>> = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' }
const names = ['page.css', 'live.js', 'board.js', 'strip.js', 'morph.js', 'text.js'] as const

/** The file at a path under `/assets/`, or undefined: a closed list, read from the disk once. */
export function asset(path: string): { readonly type: string; readonly text: string } | undefined {
  return files().get(path)
}

let read: ReadonlyMap<string, { readonly type: string; readonly text: string }> | undefined
function files() {
  read ??= new Map(
    names.map((name) => {
      const text = readFileSync(join(import.meta.dirname, 'browser', name), 'utf8')
      return [`/assets/${name}`, { type: types[name.split('.')[1] ?? ''] ?? 'text/plain', text }]
    }),
  )
  return read
}

/** Headers of everything that a browser gets: nothing from elsewhere, no inline script or style, in nobody's frame. */
export const browserHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const
