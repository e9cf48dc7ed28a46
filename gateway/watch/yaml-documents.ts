import { constructFromEvents, EVENT_ID, type Event, parseEvents, YAMLException } from 'js-yaml'

/** What stands somewhere in a text: `offset` is where its first character is. */
export type Placed = { readonly offset: number }

/** One document, or why it is none. */
export type YamlDocument = Placed &
  ({ readonly value: unknown; readonly items: readonly Placed[] } | { readonly fault: string })

/**
 * How often one document may say what is said elsewhere in it: enough for anchors written by hand. Twenty can stand for
 * some thousand copies at most, since each must be counted wherever the bomb's layers meet.
 */
const aliasesMax = 20

/**
 * The documents of a YAML text in their order, empty ones left out, `items` being the places of what the list under the
 * key `items` holds. What is wrong with one document says nothing of the others: three hyphens at the start of a line begin
 * another one wherever they stand. Never throws. Source: YAML 1.2.2, §9.1.
 */
export function yamlDocuments(text: string): YamlDocument[] {
  return segments(text).flatMap(({ from, to }) => documentsOf(text.slice(from, to), from))
}

function documentsOf(source: string, base: number): YamlDocument[] {
  try {
    const events = parseEvents(source, {})
    const starts = events.flatMap((event, index) => (event.type === EVENT_ID.DOCUMENT ? [index + 1] : []))
    if (starts.length === 0) return []
    const first = placeOf(events[starts[0] ?? 0])
    const fault = circleIn(events, source)
    if (fault) return [{ offset: base + first, fault }]
    const values = constructFromEvents(events, { source, maxAliases: aliasesMax })
    return values.flatMap((value, n) => {
      const start = starts[n] ?? 0
      if (value === null || value === undefined) return []
      const items = itemPlaces(events, start, source).map((offset) => ({ offset: base + offset }))
      return [{ offset: base + placeOf(events[start]), value, items }]
    })
  } catch (error) {
    return [faultOf(error, source, base)]
  }
}

/** From one start of a document to the next; a directive stands before the start of its own. JavaScript has more line ends. */
function segments(text: string): { readonly from: number; readonly to: number }[] {
  const found: { from: number; to: number }[] = []
  let from = 0
  for (const { index, 0: mark } of text.matchAll(/(?<![\u2028\u2029])^(?:---|\.\.\.)(?=\s|$)/gm)) {
    const to = mark === '---' ? index : index + mark.length
    if (index === from && mark === '---') continue
    if (/^%/m.test(text.slice(from, to)) && isPreamble(text.slice(from, to))) continue
    found.push({ from, to })
    from = to
  }
  return [...found, { from, to: text.length }]
}

const isPreamble = (text: string): boolean => text.split('\n').every((line) => /^(?:%|\s*#|\s*$)/.test(line))

/** Where the first character of a node is: its anchor and tag, where it has them. */
function placeOf(event: Event | undefined): number {
  if (!event || event.type === EVENT_ID.POP || event.type === EVENT_ID.DOCUMENT) return 0
  if (event.type === EVENT_ID.ALIAS) return Math.max(0, event.anchorStart - 1)
  const own = event.type === EVENT_ID.SCALAR ? event.valueStart : event.start
  return Math.max(0, own < 0 ? event.anchorStart : own)
}

const opens = (event: Event): boolean => event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE

/** The event after the node that begins at `at`. */
function after(events: readonly Event[], at: number): number {
  let depth = 0
  for (let i = at; i < events.length; i++) {
    const event = events[i]
    if (event && opens(event)) depth++
    if (event?.type === EVENT_ID.POP) depth--
    if (depth <= 0) return i + 1
  }
  return events.length
}

function itemPlaces(events: readonly Event[], root: number, source: string): number[] {
  if (events[root]?.type !== EVENT_ID.MAPPING) return []
  for (let key = root + 1; events[key] && events[key]?.type !== EVENT_ID.POP; key = after(events, after(events, key))) {
    const event = events[key]
    if (event?.type !== EVENT_ID.SCALAR || source.slice(event.valueStart, event.valueEnd) !== 'items') continue
    const list = after(events, key)
    if (events[list]?.type !== EVENT_ID.SEQUENCE) return []
    const places: number[] = []
    for (let item = list + 1; events[item] && events[item]?.type !== EVENT_ID.POP; item = after(events, item))
      places.push(placeOf(events[item]))
    return places
  }
  return []
}

/** An alias within what it names has no end. */
function circleIn(events: readonly Event[], source: string): string | undefined {
  if (!events.some((event) => event.type === EVENT_ID.ALIAS)) return undefined
  const open: (string | undefined)[] = []
  for (const event of events) {
    if (event.type === EVENT_ID.POP) open.pop()
    else if (event.type === EVENT_ID.DOCUMENT) open.push(undefined)
    else if (event.type === EVENT_ID.ALIAS) {
      const name = source.slice(event.anchorStart, event.anchorEnd)
      if (open.includes(name)) return `cannot be expanded: "${name.slice(0, 80)}" holds itself`
    } else if (opens(event))
      open.push(event.anchorStart < 0 ? undefined : source.slice(event.anchorStart, event.anchorEnd))
  }
  return undefined
}

function faultOf(error: unknown, source: string, base: number): YamlDocument {
  if (!(error instanceof YAMLException))
    return { offset: base, fault: `is malformed YAML: ${String(error).slice(0, 300)}` }
  // What ends too early is told of where it ends, not of the empty line after it.
  const at = Math.min(error.mark?.position ?? 0, Math.max(0, source.trimEnd().length - 1))
  const reason = error.reason.slice(0, 300)
  if (reason === 'duplicated mapping key') {
    const key = /^["']?([^"':\n]{0,80})/.exec(source.slice(at))?.[1]?.trim() ?? ''
    return { offset: base + at, fault: `says "${key}" twice` }
  }
  if (/alias/.test(reason)) return { offset: base + at, fault: `cannot be expanded: ${reason}` }
  return { offset: base + at, fault: `is malformed YAML: ${reason}` }
}
