import { expect, test } from 'vitest'
import { addressAnnotations, parseAddressAnnotations } from '#mesh/mcs/address-text.ts'

test('addresses of many pods are read as they were written, in annotations of bounded length', () => {
  const parts = Object.fromEntries(
    Array.from({ length: 300 }, (_, n) => [`database-with-a-name-${n}.paris`, `241.0.1.${n % 250}`]),
  )
  const annotations = addressAnnotations(parts)
  expect(Object.values(annotations).every((text) => text.length <= 3500)).toBe(true)
  expect(parseAddressAnnotations(annotations)).toEqual(
    Object.fromEntries(Object.entries(parts).toSorted(([a], [b]) => (a < b ? -1 : 1))),
  )
  expect(addressAnnotations({})).toEqual({})
})

test('what makes no sense is left out', () => {
  const annotations = {
    'isthmus.dev/addresses-0': 'db-0.b=241.0.0.1 =241.0.0.2 x=y=z X=1.2.3.4  db-1.b=',
    'isthmus.dev/addresses-99': 'q=1.2.3.4',
  }
  expect(parseAddressAnnotations(annotations)).toEqual({ 'db-0.b': '241.0.0.1' })
})
