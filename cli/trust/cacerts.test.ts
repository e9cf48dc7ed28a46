import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { checkFree, newCaKey, writeCacerts } from '#cli/trust/cacerts.ts'
import { parseCsr } from '#mesh/trust/csr.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cacerts-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const { keyPem, csr } = newCaKey()
const files = { 'ca-cert.pem': 'a', 'ca-key.pem': keyPem, 'cert-chain.pem': 'b', 'root-cert.pem': 'c' }

test('the request proves a P-256 key, and does not hold it', () => {
  expect(parseCsr(csr).kind).toBe('P-256')
  expect(csr).not.toContain('PRIVATE')
})

test('four files, or one Secret: for their owner alone, and never over one that is there', () => {
  const place = { dir: join(dir, 'out') }
  checkFree(place)
  writeCacerts(place, files)
  for (const [name, text] of Object.entries(files)) {
    expect(readFileSync(join(place.dir, name), 'utf8')).toBe(text)
    expect(statSync(join(place.dir, name)).mode & 0o777).toBe(0o600)
  }
  expect(() => checkFree(place)).toThrow(/is there already/)
  const file = join(dir, 'cacerts.yaml')
  writeCacerts({ file }, files)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const { kind, metadata, data } = parse(readFileSync(file, 'utf8'))
  expect([kind, metadata]).toEqual(['Secret', { name: 'cacerts', namespace: 'istio-system' }])
  expect(Buffer.from(data['ca-key.pem'], 'base64').toString()).toBe(keyPem)
  writeFileSync(file, 'mine')
  expect(() => writeCacerts({ file }, files)).toThrow(/cannot be written/)
  expect(readFileSync(file, 'utf8')).toBe('mine')
})
