import { expect, test } from 'vitest'
import { newId } from '#control/new-id.ts'

test('ids sort by time, and within a millisecond by making', () => {
  const ids = [...Array.from({ length: 10_000 }, () => newId(1_000)), newId(1_005), newId(2 ** 47)]
  expect(ids.toSorted()).toEqual(ids)
  expect(new Set(ids).size).toBe(ids.length)
})

test('an id is a UUIDv7 that holds its time', () => {
  const id = newId(Date.parse('2026-03-01T12:00:00Z'))
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(Number.parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(Date.parse('2026-03-01T12:00:00Z'))
})
