import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadMembership } from '#gateway/uplink/membership.ts'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'
import {
  type JoinedHome,
  makeUnreadable,
  openJoinedHome,
  type RelayHome,
  remoteCluster,
} from '#tests/support/relay-home.ts'
import { eventually } from '#tests/support/until.ts'

let joined: JoinedHome
/** A copy of a directory whose relay has joined, for each test; its centre is away. */
let home: RelayHome
beforeAll(async () => {
  joined = await openJoinedHome(`127.97.${process.pid % 250}.1`)
}, 60_000)
beforeEach(async () => {
  home = await joined.copy()
})
afterEach(() => joined.endRelays())
afterAll(() => joined?.end())

const damages: Readonly<Record<string, (name: string) => void>> = {
  'cut off': (name) => home.cut(name),
  flipped: (name) => home.flip(name),
  empty: (name) => writeFileSync(home.file(name), ''),
  unreadable: (name) => makeUnreadable(home.file(name)),
  missing: (name) => rmSync(home.file(name)),
}

const kept = ['membership.json', 'membership.json.1', 'relay-key.pem', 'received.json', 'received.json.log']
/** A key that is gone was deleted by somebody, so a new one is made: that needs the centre. */
const keys = ['issuing.key', 'serving.key']
/** Nobody misses them: copies while the original is good, and a lock. */
const unmissed = [
  'issuing.key.1',
  'serving.key.1',
  'relay.lock',
  'gateway-names.json',
  'own-gateways.json',
  'health.json',
]
/** What it believes of trust is kept twice; its log and the file for proxies are made anew. */
const trust = ['trust.json', 'trust.json.1', 'issued.log', 'control-plane-ca.pem']

test.each([
  ...kept.flatMap((name) => Object.keys(damages).map((how) => [name, how] as const)),
  ...keys
    .flatMap((name) => Object.keys(damages).map((how) => [name, how] as const))
    .filter(([, how]) => how !== 'missing'),
  ...unmissed.map((name) => [name, 'unreadable'] as const),
  ...trust.flatMap((name) => Object.keys(damages).map((how) => [name, how] as const)),
])('%s %s: the relay serves from the rest of its state, and says so', async (name, how) => {
  if (!existsSync(home.file(name))) writeFileSync(home.file(name), 'x'.repeat(100))
  const whole = readFileSync(home.file(name), 'utf8')
  damages[how]?.(name)
  const damaged = how === 'missing' || how === 'unreadable' ? undefined : readFileSync(home.file(name))
  await home.start()
  const { state, centre, conditions } = await home.status()
  expect(state).toBe('serving')
  const names = await home.served()
  expect(names.some((one) => one.startsWith('inbound'))).toBe(true)
  // The log alone holds what this young relay has received: it has not saved it whole yet.
  if (name !== 'received.json.log') expect(names).toContain(remoteCluster)
  // A log that was cut off ends in the line that was being written when the relay died: nothing is wrong with that.
  const isCutLog = name === 'received.json.log' && how !== 'flipped' && how !== 'unreadable'
  if (trust.includes(name)) expect(trustReportSchema.parse((await home.status()).trust).seq).toBeGreaterThan(0)
  if (unmissed.includes(name) || trust.includes(name) || isCutLog || (name === 'received.json' && how === 'missing'))
    return
  const said = `${home.logged.join('\n')}${JSON.stringify([centre, conditions])}`
  expect(said).toContain(home.file(name))
  if (how === 'missing') return
  expect(said).toContain(`set aside as ${home.file(name)}.damaged`)
  if (damaged) expect(readFileSync(home.file(`${name}.damaged`))).toEqual(damaged)
  if (name.startsWith('membership')) expect(readFileSync(home.file(name), 'utf8')).toBe(whole)
})

test.each(['issuing.key', 'serving.key'])(
  '%s and its copy damaged: both set aside, and made anew as soon as the centre is there',
  async (name) => {
    home.flip(name)
    home.flip(`${name}.1`)
    await joined.withCentre(async () => {
      await home.start()
      expect(home.logged.join()).toContain(`set aside as ${home.file(name)}.damaged, and a new one is made`)
      await eventually(10_000, 'it serves', async () => (await home.status()).state === 'serving')
      expect(await home.served()).toContain(remoteCluster)
    })
  },
)

const line = async () => (await home.status()).centre?.state
const notAMember = async () => (await home.status()).conditions.filter(({ type }) => type === 'NotAMember')

test('a membership that is in force: the token is not spent', async () => {
  await joined.withCentre(async () => {
    const token = await joined.centre.token('west')
    await home.start(token)
    await eventually(10_000, 'connected', async () => (await line()) === 'connected')
    expect(home.logged.join()).not.toContain('joining anew')
    await home.stop()
    const other = await joined.copy()
    for (const name of ['relay-key.pem', 'membership.json', 'membership.json.1']) other.cut(name)
    await other.start(token)
    home = other
    await eventually(10_000, 'who needs it joins with it', async () => (await line()) === 'connected')
  })
})

describe('a relay that lost its key', () => {
  test.each(['cut off', 'missing'])('%s: names the steps, and is a member again with the token', async (how) => {
    damages[how]?.('relay-key.pem')
    await home.start()
    const { centre, conditions } = await home.status()
    expect(centre).toMatchObject({ state: 'refused', reason: expect.stringContaining(home.file('relay-key.pem')) })
    const step = `isthmus relay --dir ${home.dir} --join <token>`
    for (const said of [conditions[0]?.message ?? '', home.logged.join()]) {
      expect(said).toContain('isthmus token create west')
      expect(said).toContain(step)
    }
    await home.stop()
    await joined.withCentre(async () => {
      await home.start(await joined.centre.token('west'))
      expect((await home.status()).state).toBe('serving')
      await eventually(10_000, 'a member again', async () => (await home.status()).centre?.state === 'connected')
    })
    expect((await home.status()).conditions.filter(({ type }) => type === 'NotAMember')).toEqual([])
    expect(await home.served()).toContain(remoteCluster)
    expect(loadMembership(home.file(''))?.trustDomain).toBe('west.mesh1')
  })

  test('and all that was ever said of its membership: it serves as who it was, from its last config', async () => {
    for (const name of ['membership.json', 'membership.json.1']) home.flip(name, 0.3)
    await home.start()
    expect(await home.status()).toMatchObject({ state: 'serving', trustDomain: 'west.mesh1' })
    expect(await home.served()).toContain(remoteCluster)
    expect(home.logged.join()).toContain(`set aside as ${home.file('membership.json.1')}.damaged`)
    expect((await home.status()).conditions[0]?.message).toContain('isthmus token create west')
  })
})

test('the cluster was removed: the step is named, own pods are served; a token given is tried, and it is a member again', async () => {
  await joined.withCentre(async () => {
    await home.start(await joined.centre.token('west'))
    await eventually(10_000, 'connected', async () => (await line()) === 'connected')
    await home.stop()
    await joined.centre.api('DELETE', '/v1/clusters/west')

    await home.start()
    await eventually(10_000, 'refused', async () => (await line()) === 'refused')
    const [condition] = await notAMember()
    expect(condition?.message).toContain('isthmus token create west')
    expect(condition?.message).toContain(`isthmus relay --dir ${home.dir} --join <token>`)
    expect(home.logged.filter((one) => one.includes('isthmus token create west'))).toHaveLength(1)
    expect(await home.served()).toContain(remoteCluster)
    await home.stop()

    const spent = await joined.centre.token('west')
    await joined.centre.api('DELETE', '/v1/clusters/west')
    await home.start(spent)
    await eventually(10_000, 'a token that does not help is said', async () =>
      (await notAMember())[0]?.message.includes('the join token given does not help (the join token'),
    )
    expect(await home.served()).toContain(remoteCluster)
    await home.stop()

    await home.start(await joined.centre.token('west'))
    await eventually(20_000, 'a member again', async () => (await line()) === 'connected')
    expect(await notAMember()).toEqual([])
    expect(loadMembership(home.file(''))?.trustDomain).toMatch(/^west-g[23].mesh1$/)
    await eventually(10_000, 'it serves under its new name', async () => {
      const { state, trustDomain } = await home.status()
      return state === 'serving' && trustDomain === loadMembership(home.file(''))?.trustDomain
    })
    await eventually(10_000, 'and knows the others', async () => (await home.served()).includes(remoteCluster))
  })
})
