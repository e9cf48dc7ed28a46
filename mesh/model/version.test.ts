import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { version } from '#mesh/model/version.ts'

test('the version is the one in package.json', () => {
  const file = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  expect(version).toBe(file.version)
})
