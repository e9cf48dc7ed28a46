import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '#cli/make-directory.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'

/** The files of Istio's Secret `cacerts`. */
export type Cacerts = {
  readonly 'ca-cert.pem': string
  readonly 'ca-key.pem': string
  readonly 'cert-chain.pem': string
  readonly 'root-cert.pem': string
}

/** A new P-256 key, and the request by which the centre certifies it. The key goes nowhere but into the files. */
export function newCaKey(): { readonly keyPem: string; readonly csr: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = new Uint8Array(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }))
  const tbs = buildCsrTbs(spki)
  const csr = assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, privateKey)))
  return { keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), csr }
}

const names = ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem'] as const

/** Where the files are to go, and that nothing is there yet: a CA's key is never written over. Throws `conflict`. */
export function checkFree(place: { readonly dir: string } | { readonly file: string }): void {
  const paths = 'file' in place ? [place.file] : names.map((name) => join(place.dir, name))
  const there = paths.find((path) => existsSync(path))
  if (there !== undefined)
    throw new Problem('conflict', `${there} is there already, and no key is written over: name another place`)
}

/** Writes them, each 0600 from its first byte on. Throws `conflict` where one is there, `unavailable`. */
export function writeCacerts(place: { readonly dir: string } | { readonly file: string }, files: Cacerts): void {
  if ('file' in place) {
    write(place.file, secretText(files))
    return
  }
  try {
    makeDirectory(place.dir)
  } catch (cause) {
    throw new Problem('unavailable', `${place.dir} cannot be made: ${fileFault(cause)}`, { cause })
  }
  for (const name of names) write(join(place.dir, name), files[name])
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    throw new Problem('unavailable', `${path} cannot be written: ${fileFault(cause)}`, { cause })
  }
}

function secretText(files: Cacerts): string {
  const data = names.map((name) => `  ${name}: ${Buffer.from(files[name]).toString('base64')}\n`)
  const head =
    'apiVersion: v1\nkind: Secret\nmetadata:\n  name: cacerts\n  namespace: istio-system\ntype: Opaque\ndata:\n'
  return head + data.join('')
}
