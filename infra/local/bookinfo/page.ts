import type { Answer, Served } from './call.ts'
import type { PageView } from './services.ts'

const safe = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

/** Who answered a part, how fast, and whom it took the caller for. */
function badge(name: string, served: Served | undefined, ms?: number): string {
  if (!served) return ''
  const caller = served.caller ? `<small>called by ${safe(served.caller)}</small>` : ''
  return `<p class="by"><b>${safe(name)} ${safe(served.version)}</b> in <i class="c ${safe(served.cluster)}">${safe(served.cluster)}</i>${
    ms === undefined ? '' : ` · ${ms} ms`
  }${caller}</p>`
}

const failed = (what: string, why: string): string =>
  `<p class="failed">Sorry, product ${safe(what)} are currently unavailable.<small>${safe(why)}</small></p>`

function part<T>(answer: Answer<T>, what: string, show: (body: T, ms: number) => string): string {
  return 'body' in answer ? show(answer.body, answer.ms) : failed(what, answer.failed)
}

/** The shop's page: the comedy, its details and reviews, and for each part the cluster that answered. */
export function page(view: PageView): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Bookinfo across clusters</title><style>${style}</style>
<header><h1>The Comedy of Errors</h1>
<p>One of Shakespeare’s early plays: two pairs of twins, many mistaken identities. Here no identity is mistaken: every hop
between clusters is mutual TLS.</p>${badge('productpage', view.served)}</header>
<main><section><h2>Details</h2>${part(
    view.details,
    'details',
    (d, ms) => `<dl><dt>Author<dd>${safe(d.author)}<dt>Year<dd>${d.year}</dl>${badge('details', d.served, ms)}`,
  )}</section>
<section><h2>Reviews</h2>${part(
    view.reviews,
    'reviews',
    (r, ms) =>
      r.reviews
        .map(
          (one) =>
            `<blockquote>${safe(one.text)}<footer>${safe(one.reviewer)} ${stars(one.rating)}</footer></blockquote>`,
        )
        .join('') +
      badge('reviews', r.served, ms) +
      (r.ratings?.failed ? failed('ratings', r.ratings.failed) : badge('ratings', r.ratings?.served, r.ratings?.ms)),
  )}</section></main></html>`
}

function stars(rating: { stars: number; color: string } | { error: string } | undefined): string {
  if (!rating) return ''
  if ('error' in rating) return `<small>${safe(rating.error)}</small>`
  return `<span class="${rating.color === 'red' ? 'red' : 'black'}" title="${rating.stars} of 5">${'★'.repeat(rating.stars)}${'☆'.repeat(5 - rating.stars)}</span>`
}

const style = `
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1.5rem;background:light-dark(#fbfaf8,#16181c);color:light-dark(#222,#e6e6e6)}
header{border-bottom:1px solid light-dark(#ddd,#333);margin-bottom:1rem}h1{margin:0;font-size:1.9rem}
main{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr))}
section{background:light-dark(#fff,#1e2127);border:1px solid light-dark(#e4e2dd,#30343c);border-radius:.6rem;padding:0 1.2rem 1rem}
dl{display:grid;grid-template-columns:6rem 1fr}dd{margin:0}blockquote{margin:0 0 1rem;padding-left:.8rem;border-left:3px solid #b9b2a3}
footer{font-size:.9rem;opacity:.8}small{display:block;opacity:.75;overflow-wrap:anywhere}
.by{font-size:.9rem}.c{font-style:normal;padding:.1rem .5rem;border-radius:1rem;color:#fff;background:#666}
.virginia-1{background:#2563a8}.virginia-2{background:#6b46b0}.ireland-1{background:#22784a}
.red{color:#d33}.failed{color:#c22}`
