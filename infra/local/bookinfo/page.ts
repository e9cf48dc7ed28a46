import type { Answer, Served } from './call.ts'
import { script, style } from './page-assets.ts'
import type { PageView, Reviews } from './services.ts'

const safe = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

/** One part of the page for the row of hops: who answered, how fast, and whom it took the caller for. */
type Hop = {
  readonly name: string
  readonly served?: Served | undefined
  readonly ms?: number
  readonly failed?: string
}

/** The shop's page: the comedy, its details and reviews, and for each part the cluster that answered. */
export function page(view: PageView): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Bookinfo across clusters</title><link rel="icon" href="data:,"><style>${style}</style></head><body>
<header><p class="kicker">Bookinfo · served by ${safe(clustersOf(view).join(', '))}</p><h1>The Comedy of Errors</h1>
<p class="lead">Two pairs of twins and a day of mistaken identities. On this page no identity is mistaken: every hop
between clusters is mutual TLS, and each service names the caller that it saw.</p></header>
<main>${hops(view)}<div class="columns">
<section aria-labelledby="d"><h2 id="d">Details</h2>${part(view.details, 'details', detailsOf)}</section>
<section aria-labelledby="r"><h2 id="r">Reviews</h2>${part(view.reviews, 'reviews', reviewsOf)}</section>
</div></main>
<footer><label><input type="checkbox" id="live"> Ask again every second</label>
<ol id="views" aria-label="Recent page views, one bar each: taller is slower"></ol></footer>
<script>${script}</script></body></html>`
}

/** The hops in the order of the calls. */
function hopsOf({ served, details, reviews }: PageView): Hop[] {
  const heard = 'body' in reviews ? reviews.body.ratings : undefined
  return [
    { name: 'productpage', served },
    hopOf('details', details),
    hopOf('reviews', reviews),
    ...(heard ? [{ name: 'ratings', ...heard }] : []),
  ]
}

const hopOf = (name: string, answer: Answer<{ readonly served: Served }>): Hop =>
  'body' in answer ? { name, ms: answer.ms, served: answer.body.served } : { name, ...answer }

const clustersOf = (view: PageView): string[] => [
  ...new Set(hopsOf(view).flatMap(({ served }) => (served ? [served.cluster] : []))),
]

function hops(view: PageView): string {
  return `<ul class="hops">${hopsOf(view).map(hopCard).join('')}</ul>`
}

function hopCard({ name, served, ms, failed }: Hop): string {
  const time = ms === undefined ? '' : `<span class="ms">${ms} ms</span>`
  if (!served)
    return `<li class="hop down"><b>${safe(name)}</b>${time}<p class="why">${safe(failed ?? 'no answer')}</p></li>`
  const plain = name === 'productpage' ? 'the front door, plain HTTP' : 'somebody unproved, plain HTTP'
  const caller = `<dt>called by</dt><dd${served.caller ? `>${pieces(served.caller)}` : ` class="plain">${plain}`}</dd>`
  return `<li class="hop" style="--hue:${hueOf(served.cluster)}"><b>${safe(name)} <i>${safe(served.version)}</i></b>${time}
<p class="cluster">${safe(served.cluster)}</p><dl>${caller}</dl></li>`
}

/** A long name that breaks only behind its slashes. */
const pieces = (id: string): string =>
  id
    .split(/(?<=[^/]\/)(?=[^/])/)
    .map((one) => `<span>${safe(one)}</span>`)
    .join('')

/** A colour for each cluster: the three of the sandbox far apart, any other by its name. */
function hueOf(cluster: string): number {
  const known = ['virginia-1', 'ireland-1', 'virginia-2'].indexOf(cluster)
  if (known >= 0) return [215, 150, 285][known] ?? 0
  return [...cluster].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 360, 7)
}

function part<T>(answer: Answer<T>, what: string, show: (body: T) => string): string {
  return 'body' in answer ? show(answer.body) : unavailable(what, answer.failed)
}

const unavailable = (what: string, why: string): string =>
  `<p class="failed">Sorry, product ${safe(what)} are currently unavailable.<small>${safe(why)}</small></p>`

function detailsOf(book: Readonly<Record<string, unknown>>): string {
  const rows = ['author', 'year', 'type', 'pages', 'publisher', 'language', 'ISBN-10', 'ISBN-13'].flatMap((field) =>
    book[field] === undefined ? [] : [`<dt>${safe(field)}</dt><dd>${safe(String(book[field]))}</dd>`],
  )
  return `<dl class="facts">${rows.join('')}</dl>`
}

function reviewsOf({ reviews, ratings }: Reviews): string {
  const quotes = reviews.map(
    (one) => `<blockquote>${safe(one.text)}<footer>${safe(one.reviewer)} ${stars(one.rating)}</footer></blockquote>`,
  )
  const note = ratings ? '' : '<p class="note">This version of reviews shows no stars: it does not ask ratings.</p>'
  return `${quotes.join('')}${ratings?.failed ? unavailable('ratings', ratings.failed) : note}`
}

function stars(rating: Reviews['reviews'][number]['rating']): string {
  if (!rating) return ''
  if ('error' in rating) return `<small>${safe(rating.error)}</small>`
  const shown = '★'.repeat(rating.stars) + '☆'.repeat(Math.max(0, 5 - rating.stars))
  return `<span class="stars ${rating.color === 'red' ? 'red' : 'black'}" role="img" aria-label="${rating.stars} of 5 stars">${shown}</span>`
}
