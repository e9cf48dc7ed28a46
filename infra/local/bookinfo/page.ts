import { clockOf, colourOf, inColour, safe } from './browser/text.js'
import type { Answer, Refusal, Served } from './call.ts'
import { roadOf, roadToPage, type Station } from './road.ts'
import type { Heard, PageView, Reviews } from './services.ts'

/** One part of the page for the row of answers: who answered, how fast, whom it took the caller for, and by which road. */
type Hop = {
  readonly name: string
  /** What asked it, where that is not productpage or the name alone does not say which of two. */
  readonly askedBy?: string
  readonly from?: Served
  readonly served?: Served | undefined
  readonly ms?: number
  readonly road: readonly Station[]
  /** Why nobody was asked. */
  readonly idle?: string
} & Partial<Refusal>

/**
 * The shop's page: the comedy, its details and reviews, and for each part the cluster that answered. What the whole fleet
 * does (clusters, the last minute, shifts) is drawn over it in the browser, once the sandbox tells.
 */
export function page(view: PageView): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Bookinfo across clusters</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/assets/page.css">
<script type="module" src="/assets/live.js"></script></head><body>
<header class="head"><div><p class="kicker">Bookinfo · one shop in many clusters</p><h1>The Comedy of Errors</h1></div><div id="centre" class="fleet"></div></header>
${fleet}
<main id="answers">${answersOf(view)}</main>
<footer>Two pairs of twins and a day of mistaken identities. On this page no identity is mistaken: every hop between clusters
is mutual TLS, and each service names the caller that it saw.</footer></body></html>`
}

/** Where the browser draws the fleet. Empty, and not shown, where there is no sandbox to tell. */
const fleet = `<div class="fleet"><ul id="clusters" aria-label="Clusters"></ul>
<section class="minute" aria-labelledby="m"><header><h2 id="m">The last minute</h2>
<label>coloured by who answered <select id="service"><option>reviews<option>ratings<option>details<option>productpage</select></label>
<button id="pause" type="button" aria-pressed="false" hidden>Pause</button></header>
<canvas id="strip" role="img"></canvas><div class="axis" aria-hidden="true"><span>60 s ago</span><span>now</span></div>
<div class="below"><ul id="legend" aria-label="Who answered in the last seconds"></ul><p id="counted"></p></div></section>
<ol id="shifts" aria-label="What happened" aria-live="polite" aria-relevant="additions"></ol></div>`

function answersOf(view: PageView): string {
  const all = hopsOf(view).map((one) => ({ ...one, notice: noticeOf(one, view) }))
  const crossed = new Set(all.flatMap(({ served }) => (served ? [served.cluster] : [])))
  const notices = new Set(all.flatMap(({ notice }) => notice ?? []))
  return `<h2>This page view <small>was answered by ${[...crossed].map(inColour).join(', ')}</small></h2>
${[...notices].map((text) => `<p class="failed" data-notice="${safe(text)}">${safe(text)}</p>`).join('')}<ul class="hops">${all.map(hopCard).join('')}</ul><div class="columns">
<section aria-labelledby="d"><h2 id="d">Details</h2>${part(view.details, 'details', detailsOf)}</section>
<section aria-labelledby="r"><h2 id="r">Reviews</h2>${part(view.reviews, 'reviews', reviewsOf)}</section></div>`
}

/** The answers in the order of the calls. */
function hopsOf({ served, details, reviews }: PageView): Hop[] {
  const shop = { ...served, app: 'productpage' }
  const heard = 'body' in reviews ? reviews.body : undefined
  const book = 'body' in details ? details.body : undefined
  return [
    { name: 'productpage', served, road: roadToPage('productpage', served) },
    hopOf('details', details, shop),
    hopOf('reviews', reviews, shop),
    ...(heard ? [heard.ratings ? ratingsHop('reviews', heard.served, heard.ratings) : notAsked(heard.served)] : []),
    ...(book?.ratings ? [{ ...ratingsHop('details', book.served, book.ratings), askedBy: 'details' }] : []),
  ]
}

const hopOf = (name: string, answer: Answer<{ readonly served: Served }>, from: Served & { app: string }): Hop =>
  'body' in answer
    ? { name, ms: answer.ms, served: answer.body.served, road: roadOf(name, from, answer.body.served) }
    : { name, ...answer, road: [] }

const ratingsHop = (app: string, from: Served, heard: Heard): Hop => ({
  ...{ name: 'ratings', from, ...heard },
  road: heard.served ? roadOf('ratings', { ...from, app }, heard.served) : [],
})

/** v1 of reviews asks nobody. Its place stays, so that the page does not jump from view to view. */
const notAsked = ({ version }: Served): Hop => ({
  name: 'ratings',
  idle: `reviews ${version} does not ask it`,
  road: [],
})

/** `ratings is not exported to virginia-2 since 14:07:02`, where the mesh says so. */
function noticeOf({ name, from, notExportedSince }: Hop, { served }: PageView): string | undefined {
  if (notExportedSince === undefined) return undefined
  return `${name} is not exported to ${(from ?? served).cluster} since ${clockOf(notExportedSince)}`
}

function hopCard({
  name,
  askedBy,
  served,
  ms,
  failed,
  road,
  idle,
  notice,
}: Hop & { readonly notice: string | undefined }): string {
  if (idle !== undefined)
    return `<li class="hop idle" data-key="${safe(name)}"><p><b>${safe(name)}</b></p><p>${safe(idle)}</p></li>`
  const key = askedBy === undefined ? name : `${name}-${askedBy}`
  const asked = askedBy === undefined ? '' : `<small> for ${safe(askedBy)}</small>`
  const time = ms === undefined ? '' : `<span class="ms">${ms} ms</span>`
  if (!served)
    return `<li class="hop down" data-key="${safe(key)}"><details><summary><span><b>${safe(name)}</b>${asked}</span>${time}<span class="why">${safe(notice ?? failed ?? 'no answer')}</span></summary>
<p class="road">There is no road to show: nobody answered.</p></details></li>`
  const caller = served.caller ? `<code>${pieces(served.caller)}</code>` : 'somebody unproved, in plain HTTP'
  return `<li class="hop ${colourOf(served.cluster)}" data-key="${safe(key)}"><details>
<summary><span><b>${safe(name)}</b> <i>${safe(served.version)}</i>${asked}</span>${time}${inColour(served.cluster)}
<span class="id"><small>called by</small>${name === 'productpage' ? 'the front door, in plain HTTP' : caller}</span><span class="more">the road, hop by hop</span></summary>
<ol class="road">${road.map(station).join('')}</ol></details></li>`
}

const station = ({ who, cluster, does }: Station): string =>
  `<li class="${cluster === '' ? 'nobody' : colourOf(cluster)}"><b>${safe(who)}</b>${cluster === '' ? '' : inColour(cluster)}<p>${breakable(does)}</p></li>`

/** A text whose long names may break behind their slashes and dots. */
const breakable = (text: string): string => safe(text).replace(/([./_])(?=\w)/g, '$1<wbr>')

/** A long name that breaks only behind its slashes. */
const pieces = (id: string): string =>
  id
    .split(/(?<=[^/]\/)(?=[^/])/)
    .map((one) => `<span>${safe(one)}</span>`)
    .join('')

function part<T>(answer: Answer<T>, what: string, show: (body: T) => string): string {
  return 'body' in answer ? show(answer.body) : unavailable(what, answer.failed)
}

const unavailable = (what: string, why: string): string =>
  `<p class="failed">Sorry, product ${safe(what)} are currently unavailable.<small>${safe(why)}</small></p>`

function detailsOf(book: Readonly<Record<string, unknown>>): string {
  const rows = ['author', 'year', 'stars', 'type', 'pages', 'publisher', 'language', 'ISBN-10', 'ISBN-13'].flatMap(
    (field) => (book[field] === undefined ? [] : [`<dt>${safe(field)}</dt><dd>${safe(String(book[field]))}</dd>`]),
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
