import fc from 'fast-check'
import { expect, test } from 'vitest'
import { withNearName } from '#cli/near-name.ts'
import { labelFault } from '#mesh/model/id.ts'

test.each([
  ['EU_West.1', 'x eu-west-1'],
  ['-paris-', 'x paris'],
  ['paris-1', 'x --help'],
  ['…', 'x --help'],
])('%s', (name, command) => {
  expect(withNearName('x', name)).toBe(command)
})

test('whatever was typed, the name in the command is a good one', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 100, unit: 'grapheme' }), (name) => {
      const [, near = ''] = withNearName('x', name).split(' ')
      expect(near === '--help' || labelFault(near) === undefined).toBe(true)
    }),
  )
})
