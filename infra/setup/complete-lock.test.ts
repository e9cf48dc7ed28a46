import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { completed, gapsOf } from '#infra/setup/complete-lock.js'
import { root } from '#tests/support/parts.ts'

test('our lock is one that npm ci takes: if this fails, run "node infra/setup/complete-lock.js"', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  expect(gapsOf(lock.packages)).toEqual([])
})

test('every package that is installed here is pinned by its digest', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  const installed = Object.keys(packages).filter((path) => {
    const { optional, os = [], cpu = [], libc = ['glibc'] } = packages[path]
    const ours = os.includes('linux') && (cpu.includes('x64') || cpu.includes('arm64')) && libc.includes('glibc')
    return path !== '' && (!optional || ours)
  })
  expect(installed.length).toBeGreaterThan(100)
  expect(installed.filter((path) => !packages[path].integrity?.startsWith('sha512-'))).toEqual([])
})

const lock = (name: string, more: object = {}) => ({
  packages: { 'node_modules/a': { optionalDependencies: { [name]: '1.0.0' }, dev: true }, ...more },
})

test('a package for a machine that we do not run on is named, with that machine', () => {
  expect(completed(lock('a-win32-x64')).packages['node_modules/a-win32-x64']).toEqual({
    ...{ version: '1.0.0', os: ['win32'], cpu: ['x64'], optional: true, dev: true },
  })
  expect(completed(lock('a-linux-x64-musl')).packages['node_modules/a-linux-x64-musl']).toMatchObject({
    libc: ['musl'],
  })
})

test.each(['a-linux-x64', 'a-linux-aarch64', 'a-linux-arm64-gnu', 'a-plugin'])('%s is never made up', (name) => {
  expect(() => completed(lock(name))).toThrow(`${name} 1.0.0 is missing in the lock`)
})

test.each(['node_modules/b', 'node_modules/a/node_modules/b'])('what lies in %s is no gap', (path) => {
  expect(gapsOf(lock('b', { [path]: {} }).packages)).toEqual([])
})
