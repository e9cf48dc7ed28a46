import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Vault } from '#gateway/identity/vault.ts'
import { bringShared, offerShared, replaceShared, sharedState } from '#gateway/shared-state.ts'
import { sharedVault } from '#gateway/shared-vault.ts'
import { keptObjects } from '#tests/support/kept-objects.ts'

const root = mkdtempSync(join(tmpdir(), 'isthmus-shared-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const dirOf = () => mkdtempSync(join(root, 'state-'))
const place = { namespace: 'isthmus-system', name: 'relay' }
const path = '/api/v1/namespaces/isthmus-system/secrets/relay'

describe('replicas of one relay', () => {
  test('that begin together have the key of one', async () => {
    const kube = keptObjects()
    const dirs = ['one', 'two', 'three'].map((text) => {
      const dir = dirOf()
      writeFileSync(join(dir, 'relay-key.pem'), text)
      return dir
    })
    await Promise.all(dirs.map((dir) => offerShared(sharedState(kube.api, place), dir, 'relay-key.pem')))
    const keys = dirs.map((dir) => readFileSync(join(dir, 'relay-key.pem'), 'utf8'))
    expect(new Set(keys).size).toBe(1)
    expect(await sharedState(kube.api, place).read('relay-key.pem')).toBe(keys[0])
  })

  test('hear of who they are from each other, and each change once', async () => {
    const kube = keptObjects()
    const [one, two] = [dirOf(), dirOf()]
    const shared = sharedState(kube.api, place)
    writeFileSync(join(one, 'membership.json'), 'first')
    await replaceShared(shared, one, 'membership.json')
    expect(await bringShared(shared, two)).toBe(true)
    expect(readFileSync(join(two, 'membership.json'), 'utf8')).toBe('first')
    expect(readFileSync(join(two, 'membership.json.1'), 'utf8')).toBe('first')
    expect(await bringShared(shared, two)).toBe(false)
  })

  test('what else is in the Secret stays', async () => {
    const kube = keptObjects()
    await kube.api.call('POST', path.replace('/relay', ''), {
      body: { metadata: { name: 'relay' }, data: { other: 'eA==' } },
    })
    await sharedState(kube.api, place).write('relay-key.pem', 'one', undefined)
    expect(kube.objects.get(path)).toMatchObject({ data: { other: 'eA==', 'relay-key.pem': 'b25l' } })
  })
})

function fileInHand(text?: string): Vault & { text: string | undefined } {
  const file = {
    place: 'file',
    text,
    load: async () => file.text,
    save: async (next: string) => {
      file.text = next
    },
  }
  return file
}

describe('a key that replicas share', () => {
  test('who saves after another is told, and finds what the other saved', async () => {
    const kube = keptObjects()
    const [one, two] = [fileInHand(), fileInHand()]
    const vaults = [one, two].map((file) => sharedVault(sharedState(kube.api, place), 'issuing.key', file))
    expect(await Promise.all(vaults.map((vault) => vault.load()))).toEqual([undefined, undefined])
    await vaults[0]?.save('of one')
    await expect(vaults[1]?.save('of two')).rejects.toMatchObject({ kind: 'stale' })
    expect(two.text).toBeUndefined()
    expect(await vaults[1]?.load()).toBe('of one')
    await vaults[1]?.save('after it')
    expect([await vaults[0]?.load(), one.text, two.text]).toEqual(['after it', 'after it', 'after it'])
  })

  test('the API server away: what was last known is loaded, and nothing is saved that others do not know', async () => {
    const kube = keptObjects()
    const file = fileInHand('known')
    const vault = sharedVault(sharedState(kube.api, place), 'issuing.key', file)
    kube.state.away = true
    expect(await vault.load()).toBe('known')
    await expect(vault.save('new')).rejects.toMatchObject({ kind: 'unavailable' })
    expect(file.text).toBe('known')
  })

  test('a Secret that somebody deleted is made again from what is held', async () => {
    const kube = keptObjects()
    const vault = sharedVault(sharedState(kube.api, place), 'issuing.key', fileInHand('held'))
    expect(await vault.load()).toBe('held')
    expect(await sharedState(kube.api, place).read('issuing.key')).toBe('held')
  })
})
