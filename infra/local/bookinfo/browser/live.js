// Keeps the page up to date without loading it again: the state of the fleet, and a page view of one's own each second.
import { banners, centreBadge, clusterCards, countedLine, legend, stripInWords } from './board.js'
import { morph, morphInside } from './morph.js'
import { drawStrip } from './strip.js'
import { colourOf } from './text.js'

/** Two seconds more than are shown, since the strip moves by whole seconds. */
const keptMs = 62_000
const againMs = 1500
const silentMs = 2500
const viewEveryMs = 1000
const noticeMs = 6000

const part = (id) => document.getElementById(id)
const service = part('service')
const pause = part('pause')
const notices = new Map()
let state
/** Our clock minus the sandbox's. */
let ahead = 0
let heardAt = 0

const now = () => Date.now() - ahead
const isPaused = () => pause.getAttribute('aria-pressed') === 'true'
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function viewForEver() {
  for (;;) {
    if (!isPaused() && !document.hidden) await viewAgain().catch(() => undefined)
    await wait(viewEveryMs)
  }
}

/** The sandbox tells its whole state once, then four times a second what changed. It may end and be started again. */
function listen() {
  const events = new EventSource('/sandbox/events')
  const hear = (event) => {
    const said = JSON.parse(event.data)
    const before = event.type === 'state' ? [] : (state?.requests ?? [])
    ahead = Date.now() - said.atMs
    heardAt = Date.now()
    state = { ...said, requests: [...before, ...said.requests].filter((one) => one.atMs > said.atMs - keptMs) }
    if (!isPaused()) show()
  }
  events.addEventListener('state', hear)
  events.addEventListener('change', hear)
  events.addEventListener('error', () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, againMs)
  })
}

/** A sandbox that has ended tells nothing: what is shown is old, and looks so. */
function lookAtAge() {
  document.body.classList.toggle('stale', state !== undefined && Date.now() - heardAt > silentMs)
}

function show() {
  if (!state) return
  document.body.classList.add('knows')
  const at = now()
  morphInside(part('clusters'), clusterCards(state, service.value, at))
  morphInside(part('centre'), centreBadge(state, at))
  morphInside(part('counted'), countedLine(state))
  morphInside(part('legend'), legend(state, service.value, at))
  for (const [text, seen] of notices) if (Date.now() - seen > noticeMs) notices.delete(text)
  morphInside(part('shifts'), banners(state, [...notices.keys()]))
  const strip = part('strip')
  drawStrip(strip, state.requests, at, ({ ok, clusterByService }) =>
    colour(classOf(ok, clusterByService[service.value])),
  )
  strip.setAttribute('aria-label', stripInWords(state, at))
}

const classOf = (ok, cluster) => (ok ? (cluster ? colourOf(cluster) : 'gone') : 'failures')

const colours = new Map()
/** What a class paints in, as the page is set: light or dark. */
function colour(name) {
  const known = colours.get(name)
  if (known) return known
  const probe = document.createElement('i')
  probe.className = `probe ${name}`
  document.body.append(probe)
  const found = getComputedStyle(probe).color
  probe.remove()
  colours.set(name, found)
  return found
}

async function viewAgain() {
  const answer = await fetch(location.href, { signal: AbortSignal.timeout(20_000) })
  const next = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const answers = next.getElementById('answers')
  if (!answers) return
  for (const one of answers.querySelectorAll('[data-notice]')) notices.set(one.dataset.notice, Date.now())
  morph(part('answers'), answers)
}

pause.hidden = false
pause.addEventListener('click', () => {
  pause.setAttribute('aria-pressed', String(!isPaused()))
  pause.textContent = isPaused() ? 'Go on' : 'Pause'
})
service.addEventListener('change', show)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  colours.clear()
  show()
})
addEventListener('resize', show)
setInterval(lookAtAge, 500)
listen()
void viewForEver()
