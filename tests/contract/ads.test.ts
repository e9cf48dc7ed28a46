import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { openDeaf } from '#tests/support/ads-client.ts'
import { nodeFor, workload } from '#tests/support/ads-relay.ts'
import { clusterOf, endpointsOf, listenerOf, routeOf, setOf } from '#tests/support/ads-resources.ts'
import { adsRig, eventually, many, small } from '#tests/support/ads-rig.ts'

const { dial, parties, proxy, raw, start } = adsRig()

/** Sixty-four clusters of 16 KiB. */
const big = (tag: string) =>
  setOf(
    ...Array.from({ length: 64 }, (_, i) => ({
      ...clusterOf(`c${i}`),
      version: `${tag}${i}`,
      bytes: Buffer.concat([
        clusterOf(`c${i}`).bytes,
        Buffer.from([0xe2, 0x01, 0x80, 0x80, 0x01]),
        Buffer.alloc(16_384, tag),
      ]),
    })),
  )

describe.each(['delta', 'sotw'] as const)('%s', (mode) => {
  test('a proxy gets ready, in the recorded order', async () => {
    const { server } = await start(small())
    const client = proxy(server, mode)
    await client.ready
    const whole = client.wire.filter((line) => line !== '> rds ack')
    expect(whole).toEqual([
      ...['> cds', '< cds a,b', '> eds +a,+b', '> cds ack', '< eds a,b', '> eds ack'],
      ...['> lds', '< lds in', '> rds +r', '> lds ack', '< rds r'],
    ])
  })

  test('a gateway without listeners gets ready by an empty answer', async () => {
    const { server } = await start({})
    const client = proxy(server, mode)
    await client.ready
    expect(client.wire).toEqual(['> cds', '< cds', '> cds ack', '> lds', '< lds', '> lds ack'])
  })

  test('not known yet is not answered; what is known later arrives', async () => {
    const { server, set } = await start(undefined)
    const client = proxy(server, mode)
    await delay(50)
    expect(client.wire).toEqual(['> cds'])
    set(small())
    await client.ready
  })

  test('only what changed is sent', async () => {
    const { server, set } = await start(many(50))
    const client = proxy(server, mode)
    await client.ready
    const before = server.observables().resources
    const sent = { ...before }
    const next = many(50)
    set({ ...next, [typeUrls.endpoint]: new Map(next[typeUrls.endpoint]).set('c7', endpointsOf('c7', [999])) })
    await client.until(() => client.wire.at(-2) === '< eds c7')
    const after = server.observables().resources
    expect(
      Object.entries(after).flatMap(([type, n]) => (n === sent[type] ? [] : [[type, n - (sent[type] ?? 0)]])),
    ).toEqual([[typeUrls.endpoint, 1]])
  })

  test('a bad cluster: the others arrive, the last good one stays, the owner is named', async () => {
    const { server, set, nacks } = await start(many(30))
    const refuses = (type: string, name: string, bytes: Uint8Array) =>
      type === typeUrls.cluster && Buffer.from(bytes).equals(Buffer.from(clusterOf('c7', '7s').bytes))
        ? `Error adding/updating cluster(s) ${name}: no`
        : undefined
    const client = proxy(server, mode, { refuses })
    await client.ready
    const next = new Map(many(31)[typeUrls.cluster]).set('c7', clusterOf('c7', '7s'))
    set({ [typeUrls.cluster]: next, [typeUrls.endpoint]: many(31)[typeUrls.endpoint] ?? new Map() })
    await client.until(() => client.names(typeUrls.endpoint).includes('c30'))
    expect(client.memory.held.get(typeUrls.cluster)?.get('c7')?.bytes).toEqual(Buffer.from(clusterOf('c7').bytes))
    expect(nacks.flatMap((n) => n.quarantined)).toMatchObject([
      { name: 'c7', owner: 'service shop/c7', everywhere: false },
    ])
    const [status] = server.status().proxies
    expect(status?.types['cluster']).toMatchObject({
      state: 'NACK',
      setAside: [{ name: 'c7', owner: 'service shop/c7' }],
    })
    set(many(31))
    await eventually(() => server.status().proxies[0]?.types['cluster']?.state === 'SYNCED')
  })

  test('a client that refuses everything changes nothing for others', async () => {
    const { server, set } = await start({})
    proxy(server, mode, { node: nodeFor('bad'), refuses: () => 'no' })
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: parties().other })
    await honest.ready
    set(many(40))
    await honest.until(() => honest.names(typeUrls.endpoint).length === 40)
    await eventually(() => server.status().quarantined.length === 40)
    expect(server.status().quarantined.every((q) => !q.everywhere)).toBe(true)
    const later = proxy(server, mode, { node: nodeFor('api-2', 'api'), holder: parties().other })
    await later.ready
    expect(later.names(typeUrls.cluster)).toHaveLength(40)
  })

  test('a client that refuses without end is sent so many responses a second', async () => {
    const { server } = await start(many(40), { nacksPerSecond: 4 })
    const began = performance.now()
    proxy(server, mode, { node: nodeFor('bad'), refuses: () => 'no' })
    await eventually(() => server.observables().nacks >= 8)
    const seconds = Math.ceil((performance.now() - began) / 1000)
    expect(server.observables().nacks).toBeLessThanOrEqual((seconds + 1) * 5)
  })

  test('refused by two identities: whoever holds nothing still judges for itself', async () => {
    const { server } = await start(small())
    const refuses = (_: string, name: string) => (name === 'b' ? 'bad b' : undefined)
    proxy(server, mode, { node: nodeFor('web-1'), refuses })
    proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: parties().other, refuses })
    await eventually(() => server.status().quarantined.some((q) => q.name === 'b' && q.everywhere))
    const third = proxy(server, mode, {
      node: { ...nodeFor('db-1', 'db') },
      holder: await workload(parties().pki, 'shop', 'db'),
    })
    await third.ready
    await third.until(() => third.names(typeUrls.cluster).length === 2)
    // One of the liars, come back with nothing, is not offered it again.
    const liar = proxy(server, mode, { node: nodeFor('web-2') })
    await liar.ready
    expect(liar.names(typeUrls.cluster)).toEqual(['a'])
  })

  test('refused by two identities: whoever holds an earlier version is not offered it, and gets the next', async () => {
    const next = (seconds: string, count = 3) => ({
      ...many(count),
      [typeUrls.cluster]: new Map(many(count)[typeUrls.cluster]).set('c1', clusterOf('c1', seconds)),
    })
    const all = { first: next('1s'), late: next('1s') }
    const resourcesFor =
      ({ identity }: { identity: { serviceAccount: string } }) =>
      () =>
        identity.serviceAccount === 'db' ? all.late : all.first
    const { server } = await start({}, {}, { resourcesFor })
    const bytesOf = (seconds: string) => Buffer.from(clusterOf('c1', seconds).bytes)
    const refuses = (type: string, name: string, bytes: Uint8Array) =>
      type === typeUrls.cluster && bytesOf('7s').equals(Buffer.from(bytes))
        ? `Error adding cluster ${name}: no`
        : undefined
    const holder = await workload(parties().pki, 'shop', 'db')
    const third = proxy(server, mode, { node: nodeFor('db-1', 'db'), holder, refuses })
    const others = [
      proxy(server, mode, { node: nodeFor('web-1'), refuses }),
      proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: parties().other, refuses }),
    ]
    await Promise.all([third, ...others].map((client) => client.ready))
    all.first = next('7s')
    server.changed()
    await eventually(() => server.status().quarantined.some((q) => q.name === 'c1' && q.everywhere))
    const holds = (seconds: string) =>
      bytesOf(seconds).equals(Buffer.from(third.memory.held.get(typeUrls.cluster)?.get('c1')?.bytes ?? []))

    all.late = next('7s', 4)
    server.changed()
    await third.until(() => third.names(typeUrls.endpoint).includes('c3'))
    expect(holds('1s')).toBe(true)
    expect(third.wire.join()).not.toContain('nack')
    all.late = next('8s', 4)
    server.changed()
    await third.until(() => holds('8s'))
  })

  test('more names than a stream may have: that stream ends, others go on', async () => {
    const { server } = await start(small())
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: parties().other })
    await honest.ready
    const greedy = raw(server, mode)
    greedy.ask({
      typeUrl: typeUrls.endpoint,
      node: nodeFor('web-1'),
      resourceNamesSubscribe: Array.from({ length: 50_000 }, (_, i) => `outbound|80||svc-${i}.shop`),
    })
    expect(await greedy.ended).toMatchObject({ code: 8 })
    expect(server.observables().streams).toBe(1)
  })

  test('a client that never reads costs one response, and is closed in time', async () => {
    const { server, set } = await start(big('a'), { writeMs: 500 })
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: parties().other })
    await honest.until(() => honest.names(typeUrls.cluster).length === 64)
    const stuck = openDeaf(dial(server, mode), { typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
    const bytes = () => server.observables().bytes[typeUrls.cluster] ?? 0
    await eventually(() => bytes() > 2_000_000)
    const before = bytes()
    for (const tag of 'bcdefghijklmnop') {
      set(big(tag))
      await eventually(() =>
        Buffer.from(honest.memory.held.get(typeUrls.cluster)?.get('c0')?.bytes ?? []).includes(tag.repeat(9)),
      )
    }
    expect(bytes() - before).toBeLessThan(15.5 * 1_060_000)
    await stuck.ended
    expect(server.status().proxies).toHaveLength(1)
    expect(honest.wire.length).toBeGreaterThan(30)
  })

  test('a client that reads and never answers is sent nothing more, and is closed in time', async () => {
    const { server, set } = await start(many(10), { answerMs: 500 })
    const silent = raw(server, mode)
    let answers = 0
    silent.call.on('data', () => {
      answers += 1
    })
    silent.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
    await eventually(() => answers === 1)
    for (let i = 0; i < 20; i += 1) set(many(i))
    expect(await silent.ended).toMatchObject({ code: 14 })
    expect(answers).toBe(1)
  })
})

describe('a client that comes back', () => {
  test('with everything: nothing is sent, and the next change is', async () => {
    const { server, set } = await start(small())
    const first = proxy(server, 'delta')
    await first.ready
    first.close()
    await eventually(() => server.observables().streams === 0)
    const before = { ...server.observables().resources }
    const second = proxy(server, 'delta', { memory: first.memory })
    await eventually(() => Object.keys(server.status().proxies[0]?.types ?? {}).length === 4)
    expect(server.observables().pendingTypes).toBe(0)
    expect(second.wire).toEqual(['> cds again', '> eds again', '> lds again', '> rds again'])
    expect(server.observables().resources).toEqual(before)
    set(setOf(clusterOf('a'), endpointsOf('a', [9]), listenerOf('in', 10_000, 'r'), routeOf('r', 'a')))
    await second.until(() => second.wire.includes('< cds -b'))
    expect(second.wire.filter((line) => line.startsWith('<'))).toEqual(['< eds a', '< cds -b'])
  })

  test('with some of it old: only that is sent', async () => {
    const { server } = await start(small())
    const first = proxy(server, 'delta')
    await first.ready
    first.close()
    const clusters = first.memory.held.get(typeUrls.cluster)
    clusters?.set('gone', { version: 'x', bytes: new Uint8Array() }).set('b', { version: '', bytes: new Uint8Array() })
    const second = proxy(server, 'delta', { memory: first.memory })
    await second.until(() => second.wire.includes('< cds -gone') && second.wire.includes('< eds b'))
    expect(second.wire.filter((line) => line.startsWith('<')).toSorted()).toEqual(['< cds -gone', '< cds b', '< eds b'])
  })

  test('state of the world: is answered in full, whatever nonce it remembers', async () => {
    const { server } = await start(small())
    const stream = raw(server, 'sotw')
    const answers: Buffer[] = []
    stream.call.on('data', (bytes: Buffer) => answers.push(bytes))
    stream.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1'), responseNonce: 'from another life' })
    await eventually(() => answers.length === 1)
  })

  test('again and again: it is slowed down, others are not', async () => {
    const { server } = await start(small(), { opensBurst: 5, opensPerSecond: 1 })
    const codes: number[] = []
    for (let i = 0; i < 8; i += 1) {
      const stream = raw(server, 'delta')
      stream.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
      const first = await Promise.race([
        new Promise<number>((resolve) => stream.call.once('data', () => resolve(0))),
        stream.ended.then(({ code }) => code),
      ])
      codes.push(first)
      stream.close()
    }
    expect(codes).toEqual([0, 0, 0, 0, 0, 8, 8, 8])
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: parties().other }).ready
    // The same node id by another identity is another proxy.
    await proxy(server, 'delta', { node: nodeFor('web-1', 'api'), holder: parties().other }).ready
  })

  test('more streams than one identity may have: refused by name, until one ends; others are not', async () => {
    const { server } = await start(small(), { streamsPerIdentity: 2 })
    const [first, second] = ['web-1', 'web-2'].map((pod) => proxy(server, 'delta', { node: nodeFor(pod) }))
    await Promise.all([first?.ready, second?.ready])
    const third = raw(server, 'delta')
    third.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-3') })
    expect(await third.ended).toMatchObject({ code: 8, details: expect.stringContaining('/sa/web has its 2 streams') })
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: parties().other }).ready
    first?.close()
    await eventually(() => server.observables().streams === 2)
    await proxy(server, 'delta', { node: nodeFor('web-4') }).ready
  })

  test('what it refused is not offered to it again', async () => {
    const { server } = await start(small())
    let refusals = 0
    const refuses = (_: string, name: string) => {
      if (name !== 'b') return undefined
      refusals += 1
      return 'b is bad'
    }
    for (let i = 0; i < 3; i += 1) {
      const client = proxy(server, 'delta', { refuses })
      await client.until(
        () => client.names(typeUrls.cluster).includes('a') && client.names(typeUrls.listener).length > 0,
      )
      client.close()
      await eventually(() => server.observables().streams === 0)
    }
    expect(refusals).toBe(1)
  })
})
