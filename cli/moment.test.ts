import { afterEach, describe, expect, test } from 'vitest'
import { momentFrom, momentText } from '#cli/moment.ts'

const now = Date.parse('2026-11-22T12:00:00Z')
const zone = process.env['TZ']
afterEach(() => inZone(zone))

function inZone(name: string | undefined): void {
  if (name === undefined) delete process.env['TZ']
  else process.env['TZ'] = name
}

const at = (said: string, of = now): string =>
  new Date(momentFrom(said, { now: of, on: 'isthmus cluster-config oslo-1' })).toISOString()

describe('what --at takes', () => {
  test.each([
    ['10:03', '2026-11-22T10:03:00.999Z'],
    ['9:03:07', '2026-11-22T09:03:07.999Z'],
    ['00:00', '2026-11-22T00:00:00.999Z'],
    ['2026-11-21 14:03', '2026-11-21T14:03:00.999Z'],
    ['2026-11-21T14:03:07', '2026-11-21T14:03:07.999Z'],
    ['2026-11-22T09:03:07Z', '2026-11-22T09:03:07.999Z'],
    ['2026-11-22T09:03:07.250+02:00', '2026-11-22T07:03:07.250Z'],
    ['2024-02-29T00:00Z', '2024-02-29T00:00:00.999Z'],
  ])('%s', (said, expected) => {
    inZone('UTC')
    expect(at(said)).toBe(expected)
  })

  test.each([
    ['12:01', 'is yet to come today'],
    ['2026-11-22T12:00:05Z', 'is yet to come'],
    ['2099-01-01T00:00:00Z', 'is yet to come'],
    ['2026-02-30T00:00:00Z', 'is no date of the calendar'],
    ['2025-02-29 10:00', 'is no date of the calendar'],
    ['2026-13-01T00:00Z', 'is no date of the calendar'],
    ['24:00', 'is no time of day'],
    ['2026-11-22', 'names no time of that day'],
    ['now', 'is no time'],
    ['1700000000', 'is no time'],
    ['', 'is no time'],
  ])('and not %s', (said, why) => {
    inZone('UTC')
    expect(() => at(said)).toThrow(why)
  })
})

test('an hour that was skipped never was; a time that was twice is shown so that it can be typed', () => {
  inZone('Europe/Berlin')
  expect(new Date(Date.parse('2026-03-29T00:30:00Z')).getHours()).toBe(1)
  const spring = Date.parse('2026-03-29T12:00:00Z')
  expect(() => at('02:30', spring)).toThrow('clocks were set forward')
  expect(at('03:30', spring)).toBe('2026-03-29T01:30:00.999Z')
  const autumn = Date.parse('2026-10-25T12:00:00Z')
  for (let hour = 0; hour < 14; hour++)
    for (const minute of [0, 30, 59]) {
      const then = Date.UTC(2026, 9, 24, 22 + hour, minute, 7)
      const shown = momentText(new Date(then).toISOString(), autumn)
      if (then <= autumn) expect(at(shown, autumn), shown).toBe(new Date(then + 999).toISOString())
    }
})
