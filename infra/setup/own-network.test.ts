import { spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ownNetwork } from '#infra/setup/own-network.js'

test('a command runs in a network of its own, or is not told to', () => {
  const [program, ...words] = ownNetwork() ?? []
  if (program === undefined) return expect(spawnSync('unshare', ['-n', 'true']).status).not.toBe(0)
  const { stdout, status } = spawnSync(program, [...words, 'readlink', '/proc/self/ns/net'], { encoding: 'utf8' })
  expect([status, stdout.startsWith('net:'), stdout.trim() === readlinkSync('/proc/self/ns/net')]).toEqual([
    0,
    true,
    false,
  ])
})

test('where there is none to be had, nothing is put before the command', () => {
  expect(ownNetwork(() => false)).toBeUndefined()
})
