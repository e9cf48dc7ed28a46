import { expect, test } from 'vitest'
import { capturedFrom } from '#gateway/redirect/flags.ts'
import { rulesFor } from '#gateway/redirect/rules.ts'
import { Problem } from '#mesh/model/problem.ts'

const linesOf = (family: 4 | 6, ...flags: readonly string[]): readonly string[] =>
  rulesFor(family, capturedFrom(flags)).split('\n')

test('all goes through Envoy but what Envoy’s user sends, DNS, and what is excluded', () => {
  expect(rulesFor(4, capturedFrom(['--exclude-inbound-ports=22,15020', '--exclude-outbound-ports=5432']))).toBe(`*nat
:ISTHMUS_INBOUND - [0:0]
:ISTHMUS_IN_REDIRECT - [0:0]
:ISTHMUS_OUTPUT - [0:0]
:ISTHMUS_REDIRECT - [0:0]
-A ISTHMUS_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTHMUS_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A PREROUTING -p tcp -j ISTHMUS_INBOUND
-A ISTHMUS_INBOUND -p tcp --dport 22 -j RETURN
-A ISTHMUS_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTHMUS_INBOUND -p tcp -j ISTHMUS_IN_REDIRECT
-A OUTPUT -p tcp -j ISTHMUS_OUTPUT
-A ISTHMUS_OUTPUT -p tcp --dport 53 -j RETURN
-A ISTHMUS_OUTPUT -p tcp --dport 5432 -j RETURN
-A ISTHMUS_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTHMUS_OUTPUT ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j ISTHMUS_IN_REDIRECT
-A ISTHMUS_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTHMUS_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTHMUS_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTHMUS_OUTPUT -j ISTHMUS_REDIRECT
COMMIT
`)
})

test('REDIRECT, and the match of a port, stand where TCP is sure', () => {
  const lines = linesOf(4, '--include-outbound-ports=80', '--include-inbound-ports=80')
  for (const line of lines.filter((one) => /--dport|-j REDIRECT/.test(one))) expect(line).toMatch(/ -p tcp /)
  for (const line of lines.filter((one) => /-A (PREROUTING|OUTPUT)/.test(one))) expect(line).toMatch(/ -p tcp /)
})

test('what is included is all that is taken; each family has its own ranges', () => {
  const flags = [
    '--include-outbound-ranges=10.0.0.0/8,fd00::/8',
    '--include-inbound-ports=80',
    '--include-outbound-ports=9',
  ]
  const four = linesOf(4, ...flags)
  expect(four.filter((one) => one.endsWith('-j ISTHMUS_REDIRECT'))).toEqual([
    '-A ISTHMUS_OUTPUT -p tcp --dport 9 -j ISTHMUS_REDIRECT',
    '-A ISTHMUS_OUTPUT -d 10.0.0.0/8 -j ISTHMUS_REDIRECT',
  ])
  expect(four.filter((one) => /^-A ISTHMUS_INBOUND/.test(one))).toEqual([
    '-A ISTHMUS_INBOUND -p tcp --dport 80 -j ISTHMUS_IN_REDIRECT',
  ])
  expect(linesOf(6, ...flags)).toContain('-A ISTHMUS_OUTPUT -d fd00::/8 -j ISTHMUS_REDIRECT')
  expect(linesOf(4, '--include-inbound-ports=')).not.toContain('-A ISTHMUS_INBOUND -p tcp -j ISTHMUS_IN_REDIRECT')
  expect(linesOf(4, '--include-inbound-ports=*', '--include-outbound-ranges=*')).toEqual(linesOf(4))
})

test('flags that are wrong are told all at once', () => {
  const work = () =>
    capturedFrom([
      '--exclude-inbound-ports=0,x',
      '--exclude-outbound-ranges=10.0.0.0',
      '--all',
      '--exclude-outbound-ports',
    ])
  expect(work).toThrow(Problem)
  try {
    work()
  } catch (error) {
    expect((error as Problem).violations.map(({ path, reason }) => `${path} ${reason}`)).toEqual([
      '--exclude-inbound-ports "0" is no port',
      '--exclude-inbound-ports "x" is no port',
      '--exclude-outbound-ranges "10.0.0.0" is no CIDR',
      '--all is no flag',
      '--exclude-outbound-ports needs a value: --exclude-outbound-ports=…',
    ])
  }
})
