import { expect, test } from 'vitest'
import { takeState } from '#gateway/state-lock.ts'

test('a state directory that cannot be made is named, with the reason and the setting', () => {
  const take = () => takeState('/proc/isthmus/state', { warn: () => undefined })
  expect(take).toThrow(/^the state directory \/proc\/isthmus\/state cannot be made: its file system takes no .*"state"/)
})
