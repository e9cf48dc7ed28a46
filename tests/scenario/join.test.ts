import { existsSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadMembership } from '#gateway/uplink/membership.ts'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'
import { formatJoinToken, type JoinToken, parseJoinToken } from '#mesh/wire/join-token.ts'
import { joinMember, joinWith, startTestCentre, type TestCentre } from '#tests/support/channel.ts'
import { freePort } from '#tests/support/flaky-line.ts'

let centre: TestCentre
let now = () => Date.now()
let names = 0
const fresh = () => `c${++names}`
const dirOf = (name: string) => join(centre.dir, name)

beforeAll(async () => {
  centre = await startTestCentre({ now: () => now() })
})
afterAll(() => centre?.end())

/** A token with parts of another. */
const altered = (token: string, parts: Partial<JoinToken>): string =>
  formatJoinToken({ ...parseJoinToken(token), ...parts })

/** How a join ends: the kind and the words that a person reads. */
async function refusal(work: Promise<unknown>): Promise<{ kind: ProblemKind; text: string }> {
  try {
    await work
  } catch (error) {
    if (error instanceof Problem) return { kind: error.kind, text: error.message }
    throw error
  }
  throw new Error('it was not refused')
}

describe('a join token', () => {
  test('as it comes out of a terminal, wrapped and with a line feed at its end, joins', async () => {
    const name = fresh()
    const token = await centre.token(name)
    const wrapped = ` ${token.replace(/(.{60})/g, '$1\r\n')}\n`
    const membership = await joinWith(wrapped, name, dirOf(name))
    expect(membership).toMatchObject({ cluster: name, mesh: 'mesh1', trustDomain: `${name}.mesh1`, url: centre.url })
    expect(loadMembership(dirOf(name))).toEqual(membership)
  })

  test('again with the same key, within its hour: the same answer', async () => {
    const name = fresh()
    const token = await centre.token(name)
    const first = await joinWith(token, name, dirOf(name))
    expect(await joinWith(token, name, dirOf(name))).toEqual({ ...first, time: expect.any(Number) })
  })

  test('with another key: refused, and the first stays a member', async () => {
    const name = fresh()
    const token = await centre.token(name)
    await joinWith(token, name, dirOf(name))
    const { kind, text } = await refusal(joinWith(token, name, dirOf(`${name}-thief`)))
    expect(kind).toBe('conflict')
    expect(text).toContain(`the join token of cluster "${name}" was spent by another key: a token works once`)
    expect(text).toContain(`isthmus token create ${name}`)
    expect(existsSync(join(dirOf(`${name}-thief`), 'membership.json'))).toBe(false)
    const member = await joinMember(centre, name)
    member.uplink().start()
    await expect.poll(() => member.uplink().status().state).toBe('connected')
    member.end()
  })

  test('of another cluster: said before anybody is called', async () => {
    const name = fresh()
    const token = await centre.token(name)
    const before = centre.line.counts().connections
    const { kind, text } = await refusal(joinWith(token, 'other', dirOf('other')))
    expect(kind).toBe('invalid')
    expect(text).toBe(
      `the join token was made for cluster "${name}", but this relay's settings name "other": ` +
        'make one with: isthmus token create other',
    )
    expect(centre.line.counts().connections).toBe(before)
  })

  test('of another cluster, its name changed by hand: the centre says the same', async () => {
    const [name, other] = [fresh(), fresh()]
    await centre.token(other)
    const forged = altered(await centre.token(name), { cluster: other })
    const { kind, text } = await refusal(joinWith(forged, other, dirOf(other)))
    expect(kind).toBe('forbidden')
    expect(text).toContain(`the join token was made for cluster "${name}", this relay's settings name "${other}"`)
  })

  test('after its hour: expired, and what to do', async () => {
    const name = fresh()
    const token = await centre.token(name)
    now = () => Date.now() + 61 * 60_000
    const { kind, text } = await refusal(joinWith(token, name, dirOf(name))).finally(() => {
      now = () => Date.now()
    })
    expect({ kind, text }).toEqual({
      kind: 'forbidden',
      text: `the join token has expired: it lives one hour; make one with: isthmus token create ${name}`,
    })
  })

  test('that nobody made here, or that was withdrawn', async () => {
    const name = fresh()
    const forged = altered(await centre.token(name), { token: 'x'.repeat(43) })
    const { kind, text } = await refusal(joinWith(forged, name, dirOf(name)))
    expect(kind).toBe('forbidden')
    expect(text).toContain('is not known here (or was withdrawn); make one with')
  })

  test.each([
    ['nothing', '', /must begin with "isthmus_join_"; make one with: isthmus token create/],
    ['an operator key', 'isthmus_key_abc', /this is not a join token/],
    ['half a token', 'isthmus_join_eyJ1Ijoi', /cut off or damaged: copy it again, whole/],
    [
      'plain http',
      formatJoinToken({ url: 'http://127.0.0.1:1', token: 'secret-of-it', cluster: 'c' }),
      /dial https only/,
    ],
    ['a bad digest', formatJoinToken({ url: 'https://a', token: 't', cluster: 'c', caSha256: 'abc' }), /CA digest/],
  ])('%s: named, and never quoted', async (_, token, words) => {
    const { kind, text } = await refusal(joinWith(token, 'c', dirOf('nobody')))
    expect(kind).toBe('invalid')
    expect(text).toMatch(words)
    expect(text).not.toContain('secret-of-it')
  })

  test('for a host that does not exist, and for a port where nobody listens', async () => {
    const name = fresh()
    const token = await centre.token(name)
    const nowhere = await refusal(joinWith(altered(token, { url: 'https://centre.invalid:7400' }), name, dirOf(name)))
    expect(nowhere).toEqual({
      kind: 'unavailable',
      text: 'the centre at https://centre.invalid:7400 cannot be reached: the host name does not resolve',
    })
    const url = `https://127.0.0.1:${await freePort()}`
    const silent = await refusal(joinWith(altered(token, { url }), name, dirOf(name)))
    expect(silent).toEqual({
      kind: 'unavailable',
      text: `the centre at ${url} cannot be reached: nothing listens there`,
    })
  })

  test('for the right centre under a name that its certificate does not have', async () => {
    const name = fresh()
    const url = `https://localhost:${centre.line.port}`
    const { kind, text } = await refusal(joinWith(altered(await centre.token(name), { url }), name, dirOf(name)))
    expect(kind).toBe('unavailable')
    expect(text).toContain('is not for this host name: dial the name that `isthmus serve --url` was given')
  })

  test('for a port that speaks plain HTTP', async () => {
    const plain = createHttp((_, answer) => answer.end('hello'))
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const name = fresh()
    const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}`
    const { kind, text } = await refusal(joinWith(altered(await centre.token(name), { url }), name, dirOf(name)))
    plain.close()
    expect(kind).toBe('unavailable')
    expect(text).toContain(`the centre at ${url} cannot be reached: it does not speak TLS there`)
  })

  test('naming another CA: nothing secret is sent, no key is made, and it is not tried again', async () => {
    const name = fresh()
    const token = await centre.token(name)
    const { kind, text } = await refusal(joinWith(altered(token, { caSha256: 'ab'.repeat(32) }), name, dirOf(name)))
    expect(kind).toBe('conflict')
    expect(text).toContain('shows a certificate of another CA than the one the join token names')
    expect(text).toContain(`isthmus token create ${name}`)
    expect(existsSync(dirOf(name))).toBe(false)
    expect((await joinWith(token, name, dirOf(name))).cluster).toBe(name)
  })

  test('whose answer is lost at any byte: the next try with the same token joins', async () => {
    const name = fresh()
    const token = await centre.token(name)
    for (const cutDownAt of [0, 100, 1500, 2500, 3500]) {
      centre.line.fault({ cutDownAt })
      await joinWith(token, name, dirOf(name)).catch((error: Error) =>
        expect(error).toMatchObject({ kind: 'unavailable' }),
      )
    }
    centre.line.fault({})
    expect((await joinWith(token, name, dirOf(name))).cluster).toBe(name)
  })
})

describe('a relay whose clock is off by ten minutes', () => {
  test.each([
    ['behind', -10],
    ['ahead', 10],
  ])('%s: it goes by the time of the centre, and works', async (_, minutes) => {
    const name = fresh()
    const member = await joinMember(centre, name, { now: () => Date.now() + minutes * 60_000 })
    member.uplink().start()
    await expect.poll(() => member.uplink().status().state, { timeout: 5000 }).toBe('connected')
    const { clockSkewMs } = member.uplink().status()
    expect(Math.abs(clockSkewMs + minutes * 60_000)).toBeLessThan(5000)
    expect(Math.abs(member.uplink().now() - Date.now())).toBeLessThan(5000)
    member.end()
  })
})
