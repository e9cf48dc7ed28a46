import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { findKubernetes, kubernetesVersion, placeOf } from '#infra/setup/kubernetes.js'
import { root } from '#tests/support/parts.ts'

const dirs: string[] = []
const cache = (): { readonly XDG_CACHE_HOME: string } => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-cache-'))
  dirs.push(dir)
  return { XDG_CACHE_HOME: dir }
}
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

test('a folder counts when all of its programs are there', () => {
  const env = cache()
  const dir = placeOf(env)
  mkdirSync(dir, { recursive: true })
  for (const name of ['etcd', 'kube-apiserver', 'kube-controller-manager.4711']) writeFileSync(join(dir, name), '')
  expect(findKubernetes(env)).toBeUndefined()
  writeFileSync(join(dir, 'kube-controller-manager'), '')
  expect(findKubernetes(env)).toBe(dir)
})

test('all that is of Kubernetes is of one release', () => {
  const text = readFileSync(join(root, 'tests/support/kubernetes/go.mod'), 'utf8')
  const staging = [...text.matchAll(/^\tk8s\.io\/\S+ => (k8s\.io\/\S+) v0\.(\S+)$/gm)].map(([, , version]) => version)
  expect(staging.length).toBeGreaterThan(30)
  expect(new Set(staging.map((version) => `1.${version}`))).toEqual(new Set([kubernetesVersion()]))
})
