import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { callCentre, silenceMs } from '#gateway/uplink/call-centre.ts'
import type { Call, CentreClient } from '#gateway/uplink/centre-client.ts'
import { openSession } from '#gateway/uplink/session.ts'
import { openStanding } from '#gateway/uplink/standing.ts'
import { Problem } from '#mesh/model/problem.ts'

const jwk = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' } as const
const key = { jwk, thumbprint: 'k', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }
const membership = {
  ...{ clusterId: 'id', cluster: 'a', mesh: 'm', trustDomain: 'a.m', generation: 1 },
  ...{ controlPlaneCa: '', time: 0, url: 'https://c', keyId: 'k' },
}
const refusedToken = new Problem('unauthenticated', 'the credential is missing, wrong, expired or withdrawn')
const timeout = new Problem('unavailable', 'x', { cause: Object.assign(new Error('late'), { code: 'ETIMEDOUT' }) })

/** A centre whose answers to calls come from a list; tokens are numbered. */
function setUp(answers: (object | Error)[], tokens: (object | Error)[] = []) {
  const seen: { path: string; token: string | undefined; timeoutMs: number | undefined }[] = []
  let given = 0
  let knocks = 0
  const knocking: Error[] = []
  const client: CentreClient = {
    call: async <T>({ path, schema, token, timeoutMs }: Call<T>): Promise<T> => {
      seen.push({ path, token, timeoutMs })
      if (path === '/v1/token') given++
      const fresh = { accessToken: `t${given}`, expiresInSeconds: 3600, time: Date.now() }
      const answer = path === '/v1/token' ? (tokens.shift() ?? fresh) : (answers.shift() ?? {})
      if (answer instanceof Error) throw answer
      return schema.parse(answer)
    },
    knock: async () => {
      knocks++
      const fault = knocking.shift()
      if (fault) throw fault
    },
    close: () => undefined,
  }
  const logged: string[] = []
  const log = {
    info: (_: object, text: string) => logged.push(text),
    warn: (_: object, text: string) => logged.push(text),
  }
  const standing = openStanding({ centre: 'https://c', now: Date.now, log })
  const session = openSession({ client, membership, key, now: Date.now, log, randomId: () => 'id' })
  const call = callCentre({ client, session, standing })
  return {
    standing,
    session,
    seen,
    knocking,
    logged,
    knocks: () => knocks,
    call: () => call('/v1/pull', {}, z.object({})),
  }
}

test('a token that is refused once is replaced, and nobody hears of it', async () => {
  const { call, seen } = setUp([refusedToken, {}])
  await expect(call()).resolves.toEqual({})
  expect(seen.map(({ path, token }) => `${path} ${token ?? ''}`)).toEqual([
    '/v1/token ',
    '/v1/pull t1',
    '/v1/token ',
    '/v1/pull t2',
  ])
})

test('refused with a fresh token too: that is a refusal, of two calls and no more', async () => {
  const { call, seen, standing, logged } = setUp([refusedToken, refusedToken])
  await expect(call()).rejects.toMatchObject({ kind: 'unauthenticated' })
  expect(seen).toHaveLength(4)
  standing.lost(refusedToken)
  standing.lost(refusedToken)
  expect([standing.state(), logged]).toEqual(['refused', ['the centre refuses this relay; serving what is known']])
})

test('several calls at once ask for one token', async () => {
  const { call, seen } = setUp([{}, {}, {}])
  await Promise.all([call(), call(), call()])
  expect(seen.filter(({ path }) => path === '/v1/token')).toHaveLength(1)
})

test('a clock that is off: the time in the problem is used at once, and kept', async () => {
  const time = Date.now() + 600_000
  const late = new Problem('unauthenticated', "the relay's clock is behind", { extra: { time, offsetMs: -600_000 } })
  const { call, session, logged } = setUp([{}], [late, { accessToken: 't', expiresInSeconds: 3600, time }])
  await call()
  expect(Math.abs(session.clockSkewMs() - 600_000)).toBeLessThan(2000)
  expect(logged).toContain('the clock of this machine is off, set it (NTP): the centre’s is used')
})

test('away: knocks first, and a knock that is not answered is the end of the call', async () => {
  const { call, standing, knocking, knocks, seen } = setUp([{}])
  standing.lost(timeout)
  knocking.push(timeout)
  await expect(call()).rejects.toBe(timeout)
  expect([knocks(), seen.length]).toEqual([1, 0])
  await call()
  standing.well()
  await call()
  expect(knocks()).toBe(2)
})

test('impatient with a silent line, patient with a centre that answers a knock and is slow', async () => {
  const { call, standing, seen } = setUp([timeout, timeout, {}, {}])
  const waits = () => seen.filter(({ path }) => path === '/v1/pull').map(({ timeoutMs }) => timeoutMs)
  await expect(call()).rejects.toBe(timeout)
  standing.lost(timeout)
  await expect(call()).rejects.toBe(timeout)
  await call()
  await call()
  const { usual, patient } = silenceMs
  expect(waits()).toEqual([usual, usual, patient, usual])
})
