import { refusal } from '#cli/failure.ts'

const pad = (n: number): string => String(n).padStart(2, '0')

/**
 * The moment (Unix ms) that a user means: RFC 3339, a date and time of this machine's zone (`2026-03-01 14:03`), or
 * `HH:MM[:SS]` of today. To the second, and that second whole: what a list shows as 14:03:07 is found again by typing
 * that. Throws `invalid` for what is no time, never was one here (an hour that was skipped in spring), or is yet to come.
 */
export function momentFrom(said: string, { now, on }: { readonly now: number; readonly on: string }): number {
  const mend = '--at 14:03, --at 14:03:07 (of today), --at "2026-03-01 14:03" (of here), or --at 2026-03-01T14:03:07Z'
  const invalid = (why: string) => refusal({ kind: 'invalid', why: `--at ${said} ${why}`, on, mend })
  const [whole, day, time, fraction, zone] = dated.exec(said) ?? []
  const timeOfDay = time ?? /^\d{1,2}:\d{2}(:\d{2})?$/.exec(said)?.[0]
  if (timeOfDay === undefined)
    throw invalid(/^\d{4}-\d{2}-\d{2}$/.test(said) ? 'names no time of that day' : 'is no time')
  const [hours = 0, minutes = 0, seconds = 0] = timeOfDay.split(':').map(Number)
  if (hours > 23 || minutes > 59 || seconds > 59) throw invalid('is no time of day')
  if (day !== undefined && !isDay(day)) throw invalid('is no date of the calendar')
  const date = day ?? dayOf(new Date(now))
  const text = `${date}T${[hours, minutes, seconds].map(pad).join(':')}`
  const at = zone === undefined ? Date.parse(text) : Date.parse(`${text}${zone}`)
  if (Number.isNaN(at)) throw invalid('is no time')
  if (zone === undefined && new Date(at).getHours() !== hours) throw invalid('never was here: clocks were set forward')
  if (at > now + 1000)
    throw invalid(`is yet to come${whole ? '' : ' today; a time of yesterday is said with its date'}`)
  return fraction === undefined ? at + 999 : at + Math.round(Number(`0${fraction}`) * 1000)
}

const dated = /^(\d{4}-\d{2}-\d{2})[T ](\d{1,2}:\d{2}(?::\d{2})?)(\.\d+)?(Z|[+-]\d{2}:\d{2})?$/

const isDay = (day: string): boolean => {
  const at = Date.parse(`${day}T00:00:00Z`)
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(day)
}

const dayOf = (at: Date): string =>
  `${String(at.getFullYear()).padStart(4, '0')}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`

/**
 * A moment as `--at` takes it: `14:03:07` of today, all others with their date, and so too what the clock showed twice
 * today. A dash for none.
 */
export function momentText(at: unknown, now: number): string {
  const time = typeof at === 'string' ? new Date(at) : new Date(Number.NaN)
  if (Number.isNaN(time.getTime())) return '–'
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(pad).join(':')
  const isToday = time.toDateString() === new Date(now).toDateString()
  if (isToday && Math.abs(Date.parse(`${dayOf(time)}T${clock}`) - time.getTime()) < 1000) return clock
  return `${time.toISOString().slice(0, 19)}Z`
}
