import { expect, test } from 'vitest'
import { faultOf } from './fault.ts'

const refused = (code: string, syscall: string) =>
  Object.assign(new Error(`${code}: as Node says it`), { code, syscall, path: '/a/b' })

test.each([
  ['a full disk', 'ENOSPC', 'write', '/a/b: the disk is full: make room, or set ISTHMUS_SANDBOX to another directory'],
  [
    'a place that takes no directories',
    'ENOENT',
    'mkdir',
    '/a/b: its file system takes no directories: set ISTHMUS_SANDBOX to another directory',
  ],
  ['somebody else’s', 'EACCES', 'open', '/a/b: this user may not write it: set ISTHMUS_SANDBOX to another directory'],
  ['what nobody foresaw', 'EWEIRD', 'open', 'EWEIRD: as Node says it'],
])('%s is one sentence that ends in what mends it', (_, code, syscall, said) => {
  expect(faultOf(refused(code, syscall))).toBe(said)
})
