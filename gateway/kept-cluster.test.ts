import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { keptCluster } from '#gateway/kept-cluster.ts'
import { parseFile } from '#gateway/watch/parse-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-kept-'))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('objects come back as they were; a damaged file, or one of another version, is none, and that is said', () => {
  const said: string[] = []
  const kept = keptCluster(dir, (text) => said.push(text))
  const { objects } = parseFile(
    'f.yaml',
    'apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: web}}\nspec: {nodeName: n}\n',
  )
  expect(objects.length).toBe(1)
  expect([kept.load('Pod'), said]).toEqual([undefined, []])
  kept.save('Pod', objects)
  kept.save('Node', [])
  expect([kept.load('Pod'), kept.load('Node'), said]).toEqual([objects, [], []])
  const path = join(dir, 'kubernetes-pod.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace('web', 'wob'))
  expect(kept.load('Pod')).toBe(undefined)
  expect(said).toEqual([expect.stringContaining('its checksum does not match')])
})
