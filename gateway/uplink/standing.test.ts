import { expect, test } from 'vitest'
import { unreachable } from '#gateway/uplink/centre-client.ts'
import { isNotAMember } from '#gateway/uplink/standing.ts'
import { Problem } from '#mesh/model/problem.ts'

const url = new URL('https://centre.test:7400')
const failed = (code: string) => unreachable(url, Object.assign(new Error('failed'), { code }))

test.each([
  ['a token that is refused', new Problem('unauthenticated', 'x'), true],
  ['a cluster that was removed', new Problem('forbidden', 'x'), true],
  ['a centre of another CA: it was set up anew', failed('SELF_SIGNED_CERT_IN_CHAIN'), true],
  ['a centre whose certificate has ended', failed('CERT_HAS_EXPIRED'), false],
  ['a centre that is away', failed('ECONNREFUSED'), false],
  ['a report that is too large', new Problem('too-large', 'x'), false],
  ['a version that does not fit', new Problem('conflict', 'x'), false],
  ['a fault of ours', new Error('x'), false],
])('%s: no member any more? %j %j', (_, error, expected) => expect(isNotAMember(error)).toBe(expected))
