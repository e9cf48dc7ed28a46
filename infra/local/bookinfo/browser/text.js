// Words and colours that the page has in common with what it draws by itself. Runs in the pod and in the browser.

/** Text as HTML that says just this text, between tags and inside quotes. */
export const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

const known = ['virginia-1', 'virginia-2', 'ireland-1', 'tokyo-1']
const colours = 6

/** The class of a cluster's colour, `k0` to `k5`: those of the sandbox each their own, any other by its name. */
export function colourOf(cluster) {
  const at = known.indexOf(cluster)
  if (at >= 0) return `k${at}`
  const sum = [...String(cluster)].reduce((all, c) => (all * 31 + c.charCodeAt(0)) % 9973, 7)
  return `k${known.length - 1 + (sum % (colours - known.length + 1))}`
}

/** A cluster's name in its colour. */
export const inColour = (cluster) => `<span class="cluster ${colourOf(cluster)}">${safe(cluster)}</span>`

/** `12 s`, `3 min`, `2 h`: a length of time as one number. */
export function lengthOf(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`
}

/** `14:07:02`, where the reader is. */
export function clockOf(ms) {
  const at = new Date(ms)
  const two = (number) => String(number).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

export const timeOf = (ms) => `<time datetime="${new Date(ms).toISOString()}">${clockOf(ms)}</time>`
