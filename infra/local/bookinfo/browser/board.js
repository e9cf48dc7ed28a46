// The state of the fleet as HTML. Pure: everything that somebody else has said is escaped here.
import { clockOf, colourOf, inColour, lengthOf, safe, timeOf } from './text.js'

const shiftsShown = 5
const recentMs = 3000

/** States of a cluster whose pods answer nobody; in all others it does its work, or part of it. */
const gone = new Set(['dead', 'paused', 'silent'])

/** One card for each cluster: its state, how old what it knows is, and its share of the answers of `service`. */
export function clusterCards(state, service, now) {
  const recent = state.requests.filter((one) => one.atMs > now - recentMs)
  const asked = recent.filter((one) => one.clusterByService?.[service])
  const shareOf = (name) =>
    asked.filter((one) => one.clusterByService[service] === name).length / Math.max(1, asked.length)
  return state.clusters.map((one) => clusterCard(one, service, Math.round(shareOf(one.name) * 100), now)).join('')
}

/** A cluster that does not reach the centre works on with what it knows: nothing to be alarmed about. */
const words = { 'cut-off': 'on its own' }

function clusterCard(cluster, service, share, now) {
  const { name, region, state, note, knowsSinceMs, revision } = cluster
  const known = typeof knowsSinceMs === 'number' ? `${lengthOf(now - knowsSinceMs)} old` : 'nothing yet'
  return `<li class="member ${gone.has(state) ? 'gone' : colourOf(name)}" data-key="${safe(name)}" data-state="${safe(state)}">
<h3>${safe(name)}</h3><p class="state" title="${safe(note ?? '')}">${safe(words[state] ?? state)}</p><p class="region">${safe(region)}${note === undefined || state === 'cut-off' ? '' : ` · <span title="${safe(note)}">${safe(note)}</span>`}</p>
<dl><div><dt>knows</dt><dd>${known}</dd></div><div><dt>revision</dt><dd>${safe(revision ?? '–')}</dd></div></dl>
<p class="share"><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="${share}" height="1"/></svg><span>${share} % of ${safe(service)}</span></p></li>`
}

/** The centre's badge: where it is away, for how long, and what is served meanwhile. */
export function centreBadge({ centre }, now) {
  const revision = centre.revision === undefined || centre.revision === null ? '' : centre.revision
  if (typeof centre.awaySinceMs === 'number' || centre.state === 'dead') {
    const since = typeof centre.awaySinceMs === 'number' ? ` ${lengthOf(now - centre.awaySinceMs)}` : ''
    const served = revision === '' ? 'clusters serve what they know' : `serving revision ${safe(revision)}`
    return `<p class="centre away"><b>centre</b> away${since}, ${served}</p>`
  }
  return `<p class="centre"><b>centre</b> ${safe(centre.state)}${revision === '' ? '' : `, revision ${safe(revision)}`}</p>`
}

/** What was counted since the start. */
export function countedLine({ counted }) {
  const { requests, failed, crossCluster } = counted
  const crossed = requests === 0 ? 0 : Math.round((crossCluster / requests) * 100)
  const bad = failed === 0 ? '<b>0</b> failed' : `<b class="bad">${number(failed)}</b> failed`
  return `<b>${number(requests)}</b> requests since start, ${bad}, <b>${crossed} %</b> crossed clusters`
}

const number = (value) => safe(Number(value).toLocaleString('en-GB').replaceAll(',', ' '))

/** Who answered `service` in the last seconds, most first: also the key to the strip's colours. */
export function legend({ requests }, service, now) {
  const recent = requests.filter((one) => one.atMs > now - recentMs)
  const counts = new Map()
  for (const one of recent) {
    const name = one.ok ? one.clusterByService?.[service] : undefined
    if (name) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const failed = recent.filter((one) => !one.ok).length
  const share = (count) => `${Math.round((count / Math.max(1, recent.length)) * 100)} %`
  const entries = [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    ...entries.map(
      ([name, count]) =>
        `<li class="${colourOf(name)}" data-key="${safe(name)}"><i></i>${safe(name)} <b>${share(count)}</b></li>`,
    ),
    ...(failed > 0 ? [`<li class="failures" data-key="(failed)"><i></i>failed <b>${share(failed)}</b></li>`] : []),
  ].join('')
}

/** Banners: every shift of traffic with its cause, newest first; older ones wait behind a click. */
export function banners({ shifts }, notices) {
  const newest = shifts.toSorted((a, b) => b.atMs - a.atMs).map(banner)
  const first = newest.slice(0, shiftsShown).join('')
  const older = newest.slice(shiftsShown, 200)
  const more =
    older.length === 0
      ? ''
      : `<li data-key="(older)"><details><summary>${older.length} earlier</summary><ol>${older.join('')}</ol></details></li>`
  return `${notices.map(notice).join('')}${first}${more}`
}

function banner({ id, atMs, service, from, to, failed, of, cause }) {
  const count = failed === 0 ? `0 of ${safe(of)} failed` : `<b class="bad">${safe(failed)} of ${safe(of)} failed</b>`
  return `<li class="shift ${colourOf(sideOf(to)[0] ?? '')}" data-key="shift ${safe(id)}">
${timeOf(atMs)} <span class="what"><b>${safe(service)}</b> <span class="way">${side(from)} <span class="to">→</span> ${side(to)}</span></span>
<span class="count">${count}</span> <span class="cause">${safe(cause ?? 'nothing was killed, restored or edited here; a policy or a drain stands in isthmus events')}</span></li>`
}

/** One side of a shift: a cluster, several, or none. */
const sideOf = (names) => (names === undefined || names === null || names === '' ? [] : [names].flat())
const side = (names) => (sideOf(names).length === 0 ? 'nobody' : sideOf(names).map(inColour).join(', '))

const notice = (text) =>
  `<li class="shift notice" data-key="${safe(text)}"><span class="what">${safe(text)}</span></li>`

/** One line for who does not see the strip. */
export const stripInWords = (state, now) =>
  `${state.requests.filter((one) => one.atMs > now - 60_000).length} requests in the last minute until ${clockOf(now)}`
