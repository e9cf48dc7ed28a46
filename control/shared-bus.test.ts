import { expect, test, vi } from 'vitest'
import { inProcessBus, type Note } from '#control/bus.ts'
import { type SharedBus, sharedBus } from '#control/shared-bus.ts'

/** Processes of a centre on one line. */
function processes(names: readonly string[], textBytesMax = 7900) {
  const texts: string[] = []
  const made = names.map((name) => {
    const [mesh = '', process = ''] = name.split('/')
    const local = inProcessBus((fault) => {
      throw fault
    })
    const heard: Note[] = []
    const bus: SharedBus = sharedBus(local, { mesh, process }, { textBytesMax, send: (text) => tell(text) })
    bus.listen((note) => heard.push(note))
    return { bus, heard }
  })
  const tell = (text: string) => {
    texts.push(text)
    for (const { bus } of made) bus.heard(text)
  }
  const [one, two] = made
  if (!one || !two) throw new Error('two at least')
  return { one, two, texts }
}

const change = (stream: string, readers?: readonly string[]) => ({
  ...{ stream, epoch: 'e1', rev: 7 },
  ...(readers ? { readers: new Set(readers) } : {}),
})

test('what one announces both hear, once; deltas stay at home', () => {
  const { one, two } = processes(['m/1', 'm/2'])
  const delta = { stream: 'a', epoch: 'e1', from: 6, to: 7, mode: 'delta' as const, items: [], root: '0'.repeat(64) }
  const notes: Note[] = [
    { kind: 'outbox' },
    { kind: 'cluster-void', clusterId: 'c1' },
    { kind: 'streams', changes: [{ ...change('ep/east/all', ['west']), delta }, change('trust/m')], urgent: true },
  ]
  for (const note of notes) one.bus.announce(note)
  expect(one.heard).toEqual(notes)
  expect(two.heard).toEqual([
    ...notes.slice(0, 2),
    { kind: 'streams', changes: [change('ep/east/all', ['west']), change('trust/m')], urgent: true },
  ])
})

test('after the first, what changes within the window is told together, each stream once, as it is last; urgent at once', async () => {
  vi.useFakeTimers()
  try {
    const { one, two, texts } = processes(['m/1', 'm/2'])
    const at = (rev: number, stream = 'ep/east/all') => ({ ...change(stream), rev })
    const said: Note[] = [at(1), at(2), at(3, 'ep/west/all'), at(4)].map((one) => ({ kind: 'streams', changes: [one] }))
    for (const note of said) one.bus.announce(note)
    expect(one.heard).toEqual(said)
    expect(two.heard).toEqual(said.slice(0, 1))
    one.bus.announce({ kind: 'streams', changes: [at(1, 'adv/m')], urgent: true })
    expect(two.heard).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(100)
    expect(two.heard.slice(2)).toEqual([{ kind: 'streams', changes: [at(4), at(3, 'ep/west/all')] }])
    expect(texts).toHaveLength(3)
    one.bus.announce({ kind: 'streams', changes: [at(5)] })
    expect(two.heard.at(-1)).toEqual({ kind: 'streams', changes: [at(5)] })
  } finally {
    vi.useRealTimers()
  }
})

test('another mesh in the same database hears nothing', () => {
  const { one, two } = processes(['m/1', 'other/1'])
  one.bus.announce({ kind: 'outbox' })
  expect(two.heard).toEqual([])
})

test('much is told in several texts, and a change whose readers fit none is left out rather than told to all', () => {
  const { one, two, texts } = processes(['m/1', 'm/2'], 1000)
  const small = Array.from({ length: 40 }, (_, n) => change(`ep/c${n}/all`, ['west']))
  const large = change(
    'ep/east/all',
    Array.from({ length: 200 }, (_, n) => `cluster-${n}`),
  )
  one.bus.announce({ kind: 'streams', changes: [...small, large] })
  const told = two.heard.flatMap((note) => (note.kind === 'streams' ? note.changes : []))
  expect(told).toEqual(small)
  expect(texts.length).toBeGreaterThan(2)
  expect(Math.max(...texts.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(1000)
})

test.each(['', 'x', '{}', '{"mesh":"m","from":"9","note":{"kind":"new"}}', '{"mesh":"m","from":"9","note":null}'])(
  'what is not understood is ignored: %j',
  (text) => {
    const { one } = processes(['m/1', 'm/2'])
    one.bus.heard(text)
    expect(one.heard).toEqual([])
  },
)
