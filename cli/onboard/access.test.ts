import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { contextAccess } from '#cli/onboard/access.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-kubeconfig-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const file = (name: string, contexts: readonly string[], current?: string): string => {
  const path = join(dir, name)
  const text = stringify({
    ...{ apiVersion: 'v1', kind: 'Config', ...(current ? { 'current-context': current } : {}) },
    clusters: contexts.map((one) => ({ name: one, cluster: { server: `https://${one}.test` } })),
    users: contexts.map((one) => ({ name: one, user: { token: 'secret' } })),
    contexts: contexts.map((one) => ({ name: one, context: { cluster: one, user: one } })),
  })
  writeFileSync(path, text)
  return path
}
const east = file('east', ['east'], 'east')
const west = file('west', ['west', 'far'])
const serverOf = (...args: Parameters<typeof contextAccess>) =>
  contextAccess(...args).config.getCurrentCluster()?.server

describe('a context', () => {
  test.each([
    ['the current one', {}, { KUBECONFIG: east }, 'https://east.test'],
    [
      'one of several files',
      { context: 'far' },
      { KUBECONFIG: [east, join(dir, 'gone'), west].join(delimiter) },
      'https://far.test',
    ],
    ['of a file that is named', { kubeconfig: west, context: 'west' }, { KUBECONFIG: east }, 'https://west.test'],
  ])('is %s', (_, wanted, env, server) => {
    expect(serverOf(wanted, env)).toBe(server)
  })

  const broken = join(dir, 'broken')
  writeFileSync(broken, 'users: [{ user: { token: top-secret }')
  test.each([
    ['that is not there', { context: 'north' }, east, 'not-found', 'there is no context "north" (known: east)'],
    ['that nobody chose', {}, west, 'invalid', 'no context is chosen'],
    ['of a file that is not there', {}, join(dir, 'none'), 'not-found', 'there is no such kubeconfig'],
    ['of a file that is none', {}, broken, 'invalid', 'this is no kubeconfig'],
  ])('%s is refused, and its file named', (_, wanted, path, kind, why) => {
    const refused = () => contextAccess(wanted, { KUBECONFIG: path })
    expect(refused).toThrow(expect.objectContaining({ kind, message: expect.stringContaining(why) }))
    expect(refused).toThrow(expect.objectContaining({ extra: expect.objectContaining({ on: path }) }))
    expect(refused).not.toThrow('top-secret')
  })
})
