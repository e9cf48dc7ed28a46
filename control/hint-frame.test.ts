import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { hintFor } from '#control/hint-frame.ts'
import { changeOf, type StreamChange } from '#control/stream-change.ts'
import { hintSchema, inlineDeltaBytesMax } from '#mesh/wire/hint.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'

const delta = (stream: string, to: number, items: StreamDelta['items']): StreamDelta => ({
  ...{ stream, epoch: 'e', from: to - 1, to, mode: 'delta', items, root: '0'.repeat(64) },
})
const change = (
  stream: string,
  to: number,
  items: StreamDelta['items'],
  readers?: readonly string[],
): StreamChange => ({
  ...changeOf(delta(stream, to, items)),
  ...(readers ? { readers: new Set(readers) } : {}),
})
const live = (k: string, v: Record<string, unknown> = {}) => ({ k, v })
const gone = (k: string) => ({ k, v: null })
const unpacked = (text: string | undefined) =>
  JSON.parse(gunzipSync(Buffer.from(text ?? '', 'base64')).toString('utf8')) as StreamDelta[]

test('a hint names what its reader may read, and nothing else', () => {
  const changes = [
    change('ep/east/all', 3, [live('a/b')]),
    change('ep/north/0123', 1, [live('c/d')], ['south']),
    change('cfg/west', 2, [live('self')]),
    change('cfg/south', 2, [live('self')]),
    change('trust/mesh1', 5, [live('root/x')]),
  ]
  const streams = (cluster: string) => hintFor(cluster, changes, { n: 0 })?.heads.map(([stream]) => stream)
  expect(streams('west')).toEqual(['ep/east/all', 'cfg/west', 'trust/mesh1'])
  expect(streams('south')).toEqual(['ep/east/all', 'ep/north/0123', 'cfg/south', 'trust/mesh1'])
  expect(streams('east')).toEqual(['trust/mesh1'])
  expect(JSON.stringify(unpacked(hintFor('west', changes, { n: 0 })?.delta))).not.toContain('c/d')
})

test('nothing for a reader, no hint', () => {
  expect(hintFor('east', [change('ep/east/all', 1, [live('a/b')])], { n: 0 })).toBeUndefined()
})

test('a small delta rides along and fits its schema', () => {
  const hint = hintFor('west', [change('ep/east/all', 3, [live('a/b', { x: 1 })])], { n: 7, urgent: true })
  expect(hintSchema.parse(hint)).toMatchObject({ n: 7, urgent: true, heads: [['ep/east/all', 'e', 3]] })
  expect(unpacked(hint?.delta)).toMatchObject([
    { stream: 'ep/east/all', from: 2, to: 3, items: [{ k: 'a/b', v: { x: 1 } }] },
  ])
})

test('two revisions of one stream: one head, both deltas in order', () => {
  const hint = hintFor('west', [change('ep/east/all', 3, [live('a/b')]), change('ep/east/all', 4, [gone('a/b')])], {
    n: 0,
  })
  expect(hint?.heads).toEqual([['ep/east/all', 'e', 4]])
  expect(unpacked(hint?.delta).map((d) => d.to)).toEqual([3, 4])
})

test('too much for a frame: the heads alone', () => {
  const noise = () => randomBytes(400).toString('base64')
  for (const many of [100, 2000]) {
    const items = Array.from({ length: many }, (_, i) => live(`a/s${i}`, { noise: noise() }))
    const hint = hintFor('west', [change('ep/east/all', 3, items)], { n: 0 })
    expect(hint?.delta).toBeUndefined()
    expect(JSON.stringify(hint).length).toBeLessThan(inlineDeltaBytesMax)
  }
})

test('a service that moves between audiences is pulled, so that its end never comes before its return', () => {
  const moving = [change('ep/east/all', 3, [gone('a/b')]), change('ep/east/0123', 1, [live('a/b')], ['west'])]
  expect(hintFor('west', moving, { n: 0 })).toMatchObject({
    heads: [
      ['ep/east/all', 'e', 3],
      ['ep/east/0123', 'e', 1],
    ],
  })
  expect(hintFor('west', moving, { n: 0 })?.delta).toBeUndefined()
  // Who loses it is only told of its end, and at once.
  expect(hintFor('north', moving, { n: 0 })?.delta).toBeDefined()
})

test('a change without its delta gives a head, and nothing inline that would skip it', () => {
  const { delta: _, ...head } = change('ep/east/all', 3, [])
  const hint = hintFor('west', [head, change('trust/mesh1', 2, [live('x')])], { n: 0 })
  expect(hint?.heads).toHaveLength(2)
  expect(hint?.delta).toBeUndefined()
})
