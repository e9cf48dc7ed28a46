import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { askSandbox } from '#cli/sandbox.ts'
import { formatJoinToken } from '#mesh/wire/join-token.ts'
import { serveControl } from './control-door.ts'
import { openDeeds } from './deeds.ts'
import type { Member, MemberPart } from './member.ts'
import { type ClusterPlan, planSandbox } from './plan.ts'
import type { Sandbox } from './sandbox.ts'

const home = mkdtempSync(join(tmpdir(), 'isthmus-deeds-'))
chmodSync(home, 0o700)
afterAll(() => rmSync(home, { recursive: true, force: true }))
const plan = planSandbox('/', { ISTHMUS_SANDBOX: join(home, 'fleet'), ISTHMUS_SANDBOX_OCTET: '190' })
mkdirSync(plan.dir)

/** A member without programs: it knows what was done to it. */
function fakeMember(cluster: ClusterPlan): Member {
  let dead: MemberPart[] = []
  let paused: MemberPart[] = []
  let cut = false
  return {
    plan: cluster,
    ...{ joined: () => true, running: () => !dead.includes('cluster'), starting: () => false },
    hurt: () => ({ dead, paused, cut }),
    start: async () => {
      dead = []
      paused = []
      cut = false
    },
    stop: async () => undefined,
    kill: async (part = 'cluster') => {
      dead = [...dead, part]
    },
    pause: (part = 'cluster') => {
      paused = [...paused, part]
    },
    cut: () => {
      cut = true
    },
    mend: () => {
      cut = false
    },
    ...{ missing: () => [], pods: () => [], shopAddresses: () => [] },
  }
}

function fakeSandbox() {
  const members = plan.clusters.map(fakeMember)
  let centre: 'alive' | 'dead' | 'paused' = 'alive'
  let readying: Promise<void> = Promise.resolve()
  const api = { call: async () => ({ status: 404, body: {} }), close: () => undefined }
  const sandbox: Sandbox = {
    members,
    startCentre: async () => {
      centre = 'alive'
    },
    killCentre: async () => {
      centre = 'dead'
    },
    pauseCentre: () => {
      centre = 'paused'
    },
    centreState: () => centre,
    startMember: async (name) => members.find((one) => one.plan.name === name)?.start(async () => ''),
    addMember: async (cluster) => void members.push(fakeMember(cluster)),
    memberReady: () => readying,
    ...{ api: () => api, startFrontDoor: () => undefined, frontDoorOpen: async () => undefined },
    ...{ stop: async () => undefined, kill: async () => undefined },
  }
  const hold = () => {
    let go = () => {}
    readying = new Promise((resolve) => {
      go = resolve
    })
    return () => go()
  }
  const done: string[] = []
  const deeds = openDeeds({ sandbox, plan, did: (_, words) => done.push(words), onAdded: () => done.push('added') })
  return { sandbox, deeds, done, hold }
}

const token = (cluster: string, url = 'https://127.0.0.1:7400') =>
  formatJoinToken({ url, token: 't'.repeat(43), cluster })

test('what is killed, paused or cut off comes back by one restore', async () => {
  const { deeds, sandbox } = fakeSandbox()
  await deeds.act('kill', 'ireland-1')
  await deeds.act('pause', 'virginia-1/relay')
  await deeds.act('partition', 'virginia-2')
  await deeds.act('kill', 'centre')
  expect(sandbox.members.map((one) => one.hurt())).toEqual([
    { dead: [], paused: ['relay'], cut: false },
    { dead: [], paused: [], cut: true },
    { dead: ['cluster'], paused: [], cut: false },
  ])
  expect((await deeds.act('restore', 'all')).split('\n')).toHaveLength(4)
  expect(sandbox.members.map((one) => one.hurt())).toEqual(Array(3).fill({ dead: [], paused: [], cut: false }))
  expect(sandbox.centreState()).toBe('alive')
  expect(await deeds.act('restore', 'all')).toBe('nothing is dead, paused or cut off')
})

test.each([
  ['kill', 'gateway', 'whose gateway? Known: virginia-1/gateway'],
  ['kill', 'paris-1', 'there is no "paris-1" in this sandbox; known: centre, virginia-1'],
  ['kill', 'ireland-1/shop', 'there is no "ireland-1/shop"'],
  ['partition', 'ireland-1/gateway', 'has no line that could be cut'],
] as const)('%s %s is refused in one sentence', async (verb, what, reason) => {
  const { deeds, done } = fakeSandbox()
  await expect(deeds.act(verb, what)).rejects.toThrow(reason)
  expect(done).toEqual([])
})

test('what is dead is not killed again, and a cluster has one deed at a time', async () => {
  const { deeds, hold } = fakeSandbox()
  await deeds.act('kill', 'ireland-1')
  await expect(deeds.act('kill', 'ireland-1')).rejects.toThrow('is dead already: bring it back with: isthmus sandbox')
  const go = hold()
  const restoring = deeds.act('restore', 'ireland-1')
  await expect(deeds.act('kill', 'ireland-1')).rejects.toThrow('ireland-1 is being restored just now')
  go()
  await restoring
})

test.each([
  ['tokyo-1', token('osaka-1'), 'was made for cluster "osaka-1", not for "tokyo-1"'],
  ['tokyo-1', token('tokyo-1', 'https://127.0.0.1:7500'), 'leads to https://127.0.0.1:7500'],
  ['tokyo-1', 'isthmus_join_x', 'cut off or damaged'],
  ['tokyo-1', 'hunter2', 'this is not a join token'],
  ['EU_West.1', token('EU_West.1'), 'has capitals; use lower case'],
  ['ireland-1', token('ireland-1'), 'is in this sandbox already'],
])('%s does not join with a token that does not fit, and nothing was begun', async (name, pasted, reason) => {
  const { deeds, sandbox } = fakeSandbox()
  await expect(deeds.add(name, pasted)).rejects.toThrow(reason)
  expect(sandbox.members).toHaveLength(3)
})

test('no cluster is announced while the centre is dead', async () => {
  const { deeds } = fakeSandbox()
  await deeds.act('kill', 'centre')
  await expect(deeds.join('tokyo-1')).rejects.toThrow(
    'which is dead: bring it back with: isthmus sandbox restore centre',
  )
})

test('an address that is taken is told before anything is begun', async () => {
  const { deeds, sandbox } = fakeSandbox()
  const taker = createServer()
  await new Promise<void>((resolve) => taker.listen(15443, '127.193.0.2', resolve))
  try {
    await expect(deeds.add('tokyo-1', token('tokyo-1'))).rejects.toThrow(
      'wanted for the gateway of tokyo-1, is taken by',
    )
    expect(sandbox.members).toHaveLength(3)
  } finally {
    taker.close()
  }
})

test('the command line reaches the sandbox over a socket of this user alone, and hears what it refuses', async () => {
  const { sandbox, deeds } = fakeSandbox()
  const path = join(home, 'control.sock')
  const said: string[] = []
  const door = await serveControl({ path, sandbox, deeds, say: (line) => said.push(line) })
  try {
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect((await askSandbox(path, { do: 'kill', what: 'ireland-1' })).said).toMatch(/^✘ ireland-1 is dead/)
    expect(said).toHaveLength(1)
    await expect(askSandbox(path, { do: 'kill', what: 'ireland-1' })).rejects.toMatchObject({ kind: 'conflict' })
    await expect(askSandbox(path, { do: 'burn', what: 'x' })).rejects.toThrow('is not understood')
    await expect(askSandbox(path, { do: 'call', from: 'a', to: 'b:1', times: 5000 })).rejects.toThrow('not understood')
    const pasted = `${token('tokyo-1').slice(0, 40)}\n${token('tokyo-1').slice(40)}\n`
    const { said: joined } = await askSandbox(path, { do: 'add', cluster: 'tokyo-1', token: pasted })
    expect(joined).toMatch(/^✔ tokyo-1 joined/)
    expect(sandbox.members.map((one) => one.plan.region)).toContain('ap-northeast-1')
    await expect(askSandbox(path, { do: 'add', cluster: 'tokyo-1', token: pasted })).rejects.toThrow('already')
    await expect(tooMuch(path)).resolves.toBe('')
  } finally {
    door.close()
  }
  await expect(askSandbox(path, { do: 'kill', what: 'ireland-1' })).rejects.toThrow('it does not run')
})

/** A question without an end: the door closes. */
const tooMuch = (path: string): Promise<string> =>
  new Promise((resolve) => {
    let text = ''
    const line = connect(path, () => line.write('x'.repeat(64 * 1024)))
    line.on('data', (part) => (text += String(part)))
    line.on('error', () => undefined)
    line.on('close', () => resolve(text))
  })
