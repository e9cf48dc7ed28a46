import { afterEach, describe, expect, test } from 'vitest'
import { type Lead, openLead } from '#gateway/lead/lease.ts'
import { keptObjects } from '#tests/support/kept-objects.ts'
import { eventually } from '#tests/support/until.ts'

const path = '/apis/coordination.k8s.io/v1/namespaces/isthmus-system/leases/relay'
const silent = { info: () => undefined, warn: () => undefined }
const open = new Set<Lead>()

function replica(kube: ReturnType<typeof keptObjects>, identity: string, upMs: () => number = () => 0) {
  const changes: boolean[] = []
  const lead = openLead({
    ...{ api: kube.api, namespace: 'isthmus-system', name: 'relay', identity, log: silent, upMs },
    address: { host: identity === 'one' ? '10.0.0.1' : 'fd00::2', port: 15013 },
    onChange: (leads) => changes.push(leads),
    times: { lease: 15_000, retry: 5 },
  })
  open.add(lead)
  return { lead, changes }
}

afterEach(async () => {
  for (const lead of open) await lead.stop()
  open.clear()
})

describe('a Lease among replicas', () => {
  test('is held by one; the other knows where that one is', async () => {
    const kube = keptObjects()
    const one = replica(kube, 'one')
    await eventually(5000, 'one leads', () => one.lead.leads())
    const two = replica(kube, 'two')
    await eventually(5000, 'two has looked', () => two.lead.holder() === 'one')
    expect(two.lead.leads()).toBe(false)
    expect(two.lead.leader()).toEqual({ host: '10.0.0.1', port: 15013 })
    expect(one.lead.leader()).toBeUndefined()
    expect(two.changes).toEqual([])
  })

  test('many that begin together: one is made, and one leads', async () => {
    const kube = keptObjects()
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => replica(kube, name))
    await eventually(5000, 'all have looked', () => all.every(({ lead }) => lead.holder() !== undefined))
    expect(all.filter(({ lead }) => lead.leads())).toHaveLength(1)
  })

  test('goes on when its holder lets go, without waiting', async () => {
    const kube = keptObjects()
    const one = replica(kube, 'one')
    await eventually(5000, 'one leads', () => one.lead.leads())
    const two = replica(kube, 'two')
    await eventually(5000, 'two has looked', () => two.lead.holder() === 'one')
    await one.lead.stop()
    await eventually(5000, 'two leads', () => two.lead.leads())
    expect(kube.objects.get(path)).toMatchObject({ spec: { holderIdentity: 'two', leaseTransitions: 1 } })
  })

  test('is lost only when it did not move for its whole duration, by the own clock', async () => {
    const kube = keptObjects()
    const at = { two: 0 }
    await kube.api.call('POST', path.replace('/relay', ''), {
      body: {
        metadata: { name: 'relay' },
        // As if it had ended long ago: clocks of others say nothing.
        spec: { holderIdentity: 'gone', renewTime: '2001-01-01T00:00:00.000000Z', leaseDurationSeconds: 15 },
      },
    })
    const two = replica(kube, 'two', () => at.two)
    await eventually(5000, 'two has looked', () => two.lead.holder() === 'gone')
    at.two = 14_999
    const calls = kube.calls.length
    await eventually(5000, 'two looks again', () => kube.calls.length > calls + 3)
    expect(two.lead.leads()).toBe(false)
    at.two = 15_001
    await eventually(5000, 'two leads', () => two.lead.leads())
  })

  test('the API server away: who leads goes on, who does not does not begin', async () => {
    const kube = keptObjects()
    const one = replica(kube, 'one')
    await eventually(5000, 'one leads', () => one.lead.leads())
    const two = replica(kube, 'two', () => performance.now() * 1000)
    kube.state.away = true
    await eventually(5000, 'both have seen it', () => [one, two].every(({ lead }) => lead.fault() !== undefined))
    expect([one.lead.leads(), two.lead.leads()]).toEqual([true, false])
    kube.state.away = false
    await eventually(5000, 'both are well', () => [one, two].every(({ lead }) => lead.fault() === undefined))
    expect([...one.changes, ...two.changes].filter((leads) => !leads)).toEqual([])
  })

  test('a leader that finds another in the Lease is none any more', async () => {
    const kube = keptObjects()
    const one = replica(kube, 'one')
    await eventually(5000, 'one leads', () => one.lead.leads())
    for (;;) {
      const lease = kube.objects.get(path)
      const spec = { ...(lease?.['spec'] as object), holderIdentity: 'another' }
      const done = await kube.api.call('PUT', path, { body: { ...lease, spec } }).catch(() => undefined)
      if (done) break
    }
    await eventually(5000, 'one has seen it', () => !one.lead.leads())
    expect(one.changes).toEqual([true, false])
  })
})
