import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { writeEndpointSlices } from './endpoint-slices.ts'
import { readWanted } from './manifests.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-slices-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const service = (name: string) => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { clusterIP: None, selector: { app: db }, ports: [{ name: http, port: 9080 }] }
`
const pod = (name: string, more: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: db } }
spec: { ${more} containers: [{ name: a, image: echo }] }
`

test('a pod has its hostname in the slice of the service that its subdomain names, and in no other', () => {
  mkdirSync(join(dir, 'm'))
  const texts = [service('db'), service('other'), pod('db-0', 'hostname: db-0, subdomain: db,'), pod('db-1', '')]
  writeFileSync(join(dir, 'm/all.yaml'), texts.join('---\n'))
  const { pods, services } = readWanted(join(dir, 'm'))
  const running = pods.map((one, n) => ({ pod: one, ip: `127.21.${n + 1}.1`, ready: true, terminating: false }))
  writeEndpointSlices(join(dir, 'm'), 'a', services, running)
  const live = join(dir, 'm/live')
  const hostnames = readdirSync(live).map((file) => {
    const { endpoints } = parse(readFileSync(join(live, file), 'utf8')) as { endpoints: { hostname?: string }[] }
    return [file, endpoints.map(({ hostname }) => hostname)]
  })
  expect(Object.fromEntries(hostnames)).toEqual({
    'shop.db.endpoints.yaml': ['db-0', undefined],
    'shop.other.endpoints.yaml': [undefined, undefined],
  })
})
