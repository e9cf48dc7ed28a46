import { refusal } from '#cli/failure.ts'

const pad = (n: number): string => String(n).padStart(2, '0')

/**
 * The moment (Unix ms) that a user means: RFC 3339, or `HH:MM[:SS]` of today by this machine's clock and zone. To the
 * second, and that second whole: what a list shows as 14:03:07 is found again by typing that. Throws `invalid`.
 */
export function momentFrom(said: string, { now, on }: { readonly now: number; readonly on: string }): number {
  const mend = '--at 14:03, --at 14:03:07 (of today), or --at 2026-03-01T14:03:07Z'
  const invalid = (why: string) => refusal({ kind: 'invalid', why: `--at ${said} ${why}`, on, mend })
  const [, hours, minutes, seconds = '0'] = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(said) ?? []
  const isWhole = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(said)
  if (isWhole) {
    const at = Date.parse(said)
    if (Number.isNaN(at)) throw invalid('is no date of the calendar')
    return /\.\d/.test(said) ? at : at + 999
  }
  if (hours === undefined) throw invalid('is no time')
  if (Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) throw invalid('is no time of day')
  const at = new Date(now).setHours(Number(hours), Number(minutes), Number(seconds), 999)
  if (at > now + 1000) throw invalid('is yet to come today; a time of yesterday is said with its date')
  return at
}

/** A moment as `--at` takes it: `14:03:07` of today, all others with their date. A dash for none. */
export function momentText(at: unknown, now: number): string {
  const time = typeof at === 'string' ? new Date(at) : new Date(Number.NaN)
  if (Number.isNaN(time.getTime())) return '–'
  const isToday = time.toDateString() === new Date(now).toDateString()
  if (isToday) return [time.getHours(), time.getMinutes(), time.getSeconds()].map(pad).join(':')
  return `${time.toISOString().slice(0, 19)}Z`
}
