import { stringify } from 'yaml'
import { type Paint, plain, tinted } from '#cli/paint.ts'

export type Format = 'table' | 'json' | 'yaml'
export type Row = Readonly<Record<string, unknown>>

/** A column: its heading, and the text of one object there at a moment (Unix ms). */
export type Column = readonly [heading: string, text: (row: Row, now: number) => string]

/** One object, or a list of them. */
export type Shown = {
  readonly rows: readonly Row[]
  readonly columns: readonly Column[]
  readonly single: boolean
  /** What a table without rows says. */
  readonly none?: string
  /** What stands above and below a table. */
  readonly above?: string
  readonly below?: string
}

/** Objects in the asked form, with a line break at the end. */
export function render(shown: Shown, format: Format, now: number, paint: Paint = plain): string {
  const { rows, columns, single, none = 'There are none.\n', above = '', below = '' } = shown
  if (format === 'json') return `${JSON.stringify(single ? rows[0] : rows, null, 2)}\n`
  if (format === 'yaml') return stringify(single ? rows[0] : rows)
  const cells = rows.map((row) => columns.map(([, text]) => text(row, now)))
  const body = rows.length === 0 ? none : table([columns.map(([heading]) => heading), ...cells], paint)
  return `${above}${body}${below}`
}

/** What came from elsewhere moves no cursor and rings no bell. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
export const harmless = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')

/** A paragraph between words on lines of at most `columns`, all but the first of them `indent` further in. */
export function wrapped(text: string, columns: number, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/(?<=\S) (?=\S)/)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line.trim() !== '' && longer.length > columns) {
      lines.push(line)
      line = `${indent}${word}`
    } else line = longer
  }
  return [...lines, line].join('\n')
}

/** Columns aligned by spaces; the last one is not padded. The first line is the headings. */
export function table(cells: readonly (readonly string[])[], paint: Paint = plain): string {
  const lines = cells.map((line) => line.map(harmless))
  const widths = (lines[0] ?? []).map((_, n) => Math.max(...lines.map((line) => (line[n] ?? '').length)))
  const text = (cell: string, at: number, isLast: boolean, isHeading: boolean) => {
    const toned = isHeading ? paint('head', cell) : tinted(paint, cell)
    return isLast ? toned : toned + ' '.repeat((widths[at] ?? 0) - cell.length)
  }
  return lines
    .map((line, row) => `${line.map((one, n) => text(one, n, n === line.length - 1, row === 0)).join('   ')}\n`)
    .join('')
}

/** `12 s`, `4 min`, `3 h`, `2 d` since a moment; a dash for none. */
export function age(at: unknown, now: number): string {
  const time = typeof at === 'number' ? at : typeof at === 'string' ? Date.parse(at) : Number.NaN
  if (!Number.isFinite(time)) return '–'
  const seconds = Math.max(0, Math.round((now - time) / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/** A member of an object as text: lists joined, objects as JSON, nothing as a dash. */
export function cell(value: unknown): string {
  if (value === undefined || value === null || value === '') return '–'
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.map(cell).join(',')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
