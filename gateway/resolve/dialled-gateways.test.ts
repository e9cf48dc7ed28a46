import { describe, expect, test } from 'vitest'
import { type Dialled, dialledGateways, namesIn } from '#gateway/resolve/dialled-gateways.ts'
import type { Gateway } from '#mesh/model/gateway.ts'

const gateway = (text: string): Gateway => {
  const [address = '', port = '15443', state = 'ready'] = text.split(' ')
  return { address, port: Number(port), state: state as Gateway['state'] }
}
const saidBy = (clusters: Readonly<Record<string, readonly string[]>>) =>
  new Map(Object.entries(clusters).map(([cluster, all]) => [cluster, { gateways: all.map(gateway) }]))
const own = { cluster: 'home', gateways: ['203.0.113.200', 'gw.home.example'].map(gateway) }

type Step = {
  readonly said: Readonly<Record<string, readonly string[]>>
  readonly answers: Readonly<Record<string, readonly string[]>>
}
const dial = ({ said, answers }: Step, before?: Dialled): Dialled =>
  dialledGateways({ said: saidBy(said), answers: new Map(Object.entries(answers)), own, ...(before ? { before } : {}) })
const texts = ({ gateways }: Dialled) =>
  Object.fromEntries(
    [...gateways].map(([cluster, { gateways: all }]) => [cluster, all.map((g) => `${g.address}:${g.port} ${g.state}`)]),
  )

describe('the gateways of other clusters, to be dialled', () => {
  test('a name becomes its addresses, with its port and state; an address stays', () => {
    const said = { b: ['gw.b.example 15443 down', '203.0.113.9'], c: ['gw.c.example'] }
    const dialled = dial({ said, answers: { 'gw.b.example': ['203.0.113.1', '203.0.113.2'] } })
    expect(texts(dialled)).toEqual({
      b: ['203.0.113.1:15443 down', '203.0.113.2:15443 down', '203.0.113.9:15443 ready'],
      c: [],
    })
  })

  test('only good names are asked for', () => {
    const said = ['gw.b.example', '203.0.113.9', '*.b.example', 'localhost', '127.1', 'gw.c.example']
    expect(namesIn(said.map(gateway))).toEqual(['gw.b.example', 'gw.c.example'])
  })

  test('a cluster that names no host is rendered from the very object that was heard', () => {
    const said = saidBy({ b: ['203.0.113.9'] })
    const { gateways } = dialledGateways({ said, answers: new Map(), own })
    expect(gateways.get('b')).toBe(said.get('b'))
  })

  test('what did not change is the same object, though other names moved', () => {
    const said = { b: ['gw.b.example'], c: ['gw.c.example'] }
    const first = dial({ said, answers: { 'gw.b.example': ['203.0.113.1'], 'gw.c.example': ['203.0.113.2'] } })
    const then = dial({ said, answers: { 'gw.b.example': ['203.0.113.1'], 'gw.c.example': ['203.0.113.3'] } }, first)
    expect(then.gateways.get('b')).toBe(first.gateways.get('b'))
    expect(then.gateways.get('c')).not.toBe(first.gateways.get('c'))
  })

  test('one address twice in a cluster is dialled once', () => {
    const said = { b: ['203.0.113.1', 'gw.b.example', 'gw2.b.example'] }
    const answers = { 'gw.b.example': ['203.0.113.1'], 'gw2.b.example': ['203.0.113.1', '203.0.113.2'] }
    expect(texts(dial({ said, answers }))).toEqual({ b: ['203.0.113.1:15443 ready', '203.0.113.2:15443 ready'] })
  })
})

describe('an address belongs to the cluster that led to it first', () => {
  const said = { b: ['gw.b.example'], a: ['gw.a.example'] }
  const first = dial({ said, answers: { 'gw.b.example': ['203.0.113.1'], 'gw.a.example': ['203.0.113.7'] } })
  const turned = { 'gw.b.example': ['203.0.113.1'], 'gw.a.example': ['203.0.113.1', '203.0.113.7'] }

  test('a name that turns to it changes nothing, and it is told', () => {
    const then = dial({ said, answers: turned }, first)
    expect(texts(then)).toEqual({ b: ['203.0.113.1:15443 ready'], a: ['203.0.113.7:15443 ready'] })
    expect(then.contested).toEqual([{ at: '203.0.113.1:15443', cluster: 'b', other: 'a', said: 'gw.a.example' }])
    expect(texts(dial({ said, answers: turned }, then))).toEqual(texts(then))
  })

  test('nor does an address written down later', () => {
    const then = dial({ said: { ...said, a: ['203.0.113.1'] }, answers: turned }, first)
    expect(texts(then)).toEqual({ b: ['203.0.113.1:15443 ready'], a: [] })
  })

  test('it is free when the first one leads elsewhere', () => {
    const moved = { 'gw.b.example': ['203.0.113.5'], 'gw.a.example': ['203.0.113.1'] }
    expect(texts(dial({ said, answers: moved }, dial({ said, answers: turned }, first)))).toEqual({
      b: ['203.0.113.5:15443 ready'],
      a: ['203.0.113.1:15443 ready'],
    })
  })

  test('nobody was first: who wrote it down, else the first by name; in whatever order they were heard', () => {
    expect(texts(dial({ said, answers: turned }))['a']).toContain('203.0.113.1:15443 ready')
    expect(texts(dial({ said: { a: said.a, b: ['203.0.113.1'] }, answers: turned }))['b']).toHaveLength(1)
    expect(texts(dial({ said: { b: said.b, a: said.a }, answers: turned }))).toEqual(
      texts(dial({ said: { a: said.a, b: said.b }, answers: turned })),
    )
  })

  test('two that wrote it down are left to the centre’s dates, which stay on them', () => {
    const dated = (since: number) => ({ gateways: [{ ...gateway('203.0.113.1'), since }, gateway('gw.x.example')] })
    const both = new Map([
      ['a', dated(2)],
      ['b', dated(1)],
    ])
    const { gateways, contested } = dialledGateways({ said: both, answers: new Map(), own })
    expect([...gateways.values()].map((one) => one.gateways)).toEqual([[dated(2).gateways[0]], [dated(1).gateways[0]]])
    expect(contested).toEqual([])
  })

  test('another port is another place', () => {
    const then = dial({ said: { ...said, a: ['203.0.113.1 15444'] }, answers: turned }, first)
    expect(texts(then)['a']).toEqual(['203.0.113.1:15444 ready'])
  })

  test('the own gateways are never another cluster’s', () => {
    const answers = { 'gw.b.example': ['203.0.113.200', '203.0.113.201'], 'gw.home.example': ['203.0.113.201'] }
    const then = dial({ said, answers })
    expect(texts(then)['b']).toEqual([])
    expect(then.contested).toMatchObject([
      { cluster: 'home', other: 'b' },
      { cluster: 'home', other: 'b' },
    ])
  })
})
