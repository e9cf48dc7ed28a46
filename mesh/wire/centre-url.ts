/**
 * Why a text is not the URL of a centre as relays dial it, `https://<host>[:<port>]`; undefined where it is one. Relays put
 * their own paths behind it, and it is the audience of their assertions: all but an origin would be guessed at.
 */
export function centreUrlFault(text: string): string | undefined {
  if (/[\s\\\p{Cc}]/u.test(text)) return 'it holds a space, a backslash or a control character'
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) return 'it is no URL'
  if (url.protocol !== 'https:') return 'it is not https, and relays dial https only'
  if (/^https:\/*[^/?#]*@/i.test(text)) return 'it holds a user name or a password: leave them out'
  if (url.hash !== '' || text.includes('#')) return 'it has a fragment (#…): leave it out'
  if (url.search !== '' || text.includes('?')) return 'it has a query (?…): leave it out'
  if (url.pathname !== '/') return 'it has a path: leave it out'
  if (['0.0.0.0', '[::]'].includes(url.hostname)) return `${url.hostname} names no host that could be dialled`
  return undefined
}

/** The origin in a URL without fault: no trailing slash, no default port. */
export const centreOrigin = (text: string): string => new URL(text).origin
