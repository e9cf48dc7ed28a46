export type Tone = 'good' | 'slow' | 'bad' | 'head'

/** Puts a tone around a text; without colours the text as it is. */
export type Paint = (tone: Tone, text: string) => string

/** SGR: green, yellow, red, bold. */
const codes: Readonly<Record<Tone, number>> = { good: 32, slow: 33, bad: 31, head: 1 }

export const plain: Paint = (_, text) => text
export const coloured: Paint = (tone, text) => `\u001b[${codes[tone]}m${text}\u001b[0m`

/** Words of our tables that say how something stands; everything else has no tone. */
const tones: Readonly<Record<string, Tone>> = {
  ...byTone('good', ['joined', 'serving', 'ready', 'connected', 'SYNCED', 'active', 'Live', 'Joined,Reporting']),
  ...byTone('slow', ['expected', 'joining', 'waiting-for-certificates', 'connecting', 'STALE', 'unknown', 'tainted']),
  ...byTone('bad', [
    'left',
    'away',
    'refused',
    'down',
    'NACK',
    'revoked',
    'Revoked',
    'Expired',
    'relay does not answer',
  ]),
}

/** A cell in the tone of what it says: `SYNCED`, `away 40 s`. */
export function tinted(paint: Paint, cell: string): string {
  const tone = tones[cell] ?? tones[cell.replace(/ \d+ (s|min|h|d)$/, '')]
  return tone === undefined ? cell : paint(tone, cell)
}

function byTone(tone: Tone, words: readonly string[]): Record<string, Tone> {
  return Object.fromEntries(words.map((word) => [word, tone]))
}
