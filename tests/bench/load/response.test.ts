import { expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { responseReader } from '#tests/bench/load/response.ts'
import { field, framed, textField } from '#tests/bench/load/wire.ts'

const { endpoint: eds } = typeUrls
const assignment = (name: string) => Buffer.concat([textField(1, eds), field(2, textField(1, name))])
const named = (name: string, version: string) =>
  field(2, Buffer.concat([textField(1, version), textField(3, name), field(2, assignment(name))]))
const delta = (nonce: string, ...names: readonly string[]) =>
  framed(...names.map((name) => named(name, 'v1')), textField(4, eds), textField(5, nonce), textField(6, 'gone'))

test('a response that many streams are sent is read once, wherever it was cut', () => {
  const read = responseReader()
  const frame = delta('n.1', 'a', 'b')
  const first = read('delta', [frame])
  expect(first).toMatchObject({ type: eds, nonce: 'n.1', removed: ['gone'], names: ['a', 'b', 'gone'] })
  expect(read('delta', [frame.subarray(0, 9), frame.subarray(9)])).toBe(first)
})

test('one byte of difference makes another response', () => {
  const read = responseReader()
  const first = read('delta', [delta('n.1', 'a')])
  const second = read('delta', [delta('n.2', 'a')])
  expect([first.nonce, second.nonce]).toEqual(['n.1', 'n.2'])
  expect(read('delta', [delta('n.1', 'b')]).names).toEqual(['b', 'gone'])
  expect(second.resources[0]).toBe(first.resources[0])
})

test('in the state of the world a name stands within its resource, and its bytes are its version', () => {
  const read = responseReader()
  const whole = (...names: readonly string[]) =>
    read('sotw', [framed(textField(1, 'r7'), ...names.map((name) => field(2, assignment(name))), textField(4, eds))])
  const first = whole('a', 'b')
  expect(first).toMatchObject({ version: 'r7', names: ['a', 'b'] })
  const [a, b] = first.resources
  expect(a?.version).not.toBe(b?.version)
  expect(whole('b').resources[0]).toBe(b)
})
