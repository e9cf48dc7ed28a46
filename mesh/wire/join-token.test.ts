import fc from 'fast-check'
import { expect, test } from 'vitest'
import { centreOrigin, centreUrlFault } from '#mesh/wire/centre-url.ts'
import { formatJoinToken, parseJoinToken } from '#mesh/wire/join-token.ts'

const token = (url: string) => formatJoinToken({ url, token: 't'.repeat(43), cluster: 'east' })

test.each([
  ['https://centre.example', 'https://centre.example'],
  ['https://centre.example:7400/', 'https://centre.example:7400'],
  ['https://[2001:db8::1]:443', 'https://[2001:db8::1]'],
])('%s is dialled as %s', (url, origin) => {
  expect(parseJoinToken(token(url)).url).toBe(origin)
})

test.each([
  ['centre.example:7400', 'not https'],
  ['//centre.example', 'no URL'],
  ['http://centre.example', 'not https'],
  ['https://admin:hunter2@centre.example', 'a user name or a password'],
  ['https://admin@centre.example', 'a user name or a password'],
  ['https://@centre.example', 'a user name or a password'],
  ['https://centre.example/isthmus', 'has a path'],
  ['https://centre.example?', 'has a query'],
  ['https://centre.example/?a=b', 'has a query'],
  ['https://centre.example#', 'has a fragment'],
  ['https://centre.example/#top', 'has a fragment'],
  ['https://centre.exa\nmple', 'a control character'],
  ['https://centre.example\\x', 'a backslash'],
  ['https://0.0.0.0:7400', 'names no host'],
  ['https://0:7400', 'names no host'],
])('a token that names %j is refused: %s', (url, reason) => {
  expect(() => parseJoinToken(token(url))).toThrow(reason)
  expect(() => parseJoinToken(token(url))).not.toThrow('hunter2')
})

test('whatever is taken is an origin and nothing more', () => {
  const authority = fc.webAuthority({ withPort: true, withUserInfo: true, withIPv6: true })
  const rest = fc.oneof(fc.constantFrom('', '/', '//', '/.', '/a/..', '?', '#', '/%2e'), fc.string({ maxLength: 4 }))
  fc.assert(
    fc.property(authority, rest, (host, more) => {
      const text = `https://${host}${more}`
      if (centreUrlFault(text) !== undefined) return
      const url = new URL(text)
      expect([url.username, url.password, url.pathname, url.search, url.hash]).toEqual(['', '', '/', '', ''])
      expect(url.href).toBe(`${centreOrigin(text)}/`)
      expect(centreUrlFault(centreOrigin(text))).toBeUndefined()
    }),
  )
})
