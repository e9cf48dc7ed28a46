import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { codeOf } from '#control/keys/new-file.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parsePublicKey } from '#mesh/trust/public-key.ts'

/** A private key that an operator brings: itself with its public half (SubjectPublicKeyInfo), or why it cannot be used. */
export type PluggedKey =
  | { readonly key: KeyObject; readonly spki: Uint8Array; readonly faults: readonly [] }
  | { readonly key?: undefined; readonly spki?: Uint8Array; readonly faults: readonly string[] }

const bytesMax = 64 * 1024

/**
 * Reads one unencrypted private key, PEM, that nobody else may read. Never throws, and says nothing of what is in the file
 * but its kind.
 */
export function readPluggedKey(path: string): PluggedKey {
  const exposed = modeFault(path)
  const text = textOf(path)
  if (typeof text !== 'string') return { faults: [text.fault] }
  const read = keyOf(text)
  const faults = [...exposed, ...read.faults]
  if (read.key && faults.length === 0) return { key: read.key, spki: read.spki, faults: [] }
  return { ...(read.spki ? { spki: read.spki } : {}), faults }
}

function modeFault(path: string): string[] {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0
  if ((mode & 0o077) === 0) return []
  return [`has the mode ${(mode & 0o777).toString(8)}: others may have copied it; chmod 600 it if nobody did`]
}

function textOf(path: string): string | { readonly fault: string } {
  try {
    const { size } = statSync(path)
    if (size > bytesMax) return { fault: `has ${size} bytes; at most ${bytesMax}` }
    return readFileSync(path, 'utf8')
  } catch (cause) {
    return { fault: codeOf(cause) === 'ENOENT' ? 'is missing' : `cannot be read: ${codeOf(cause)}` }
  }
}

const keyBlock = /^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----$[\s\S]*?^-----END \1-----$/gm

function keyOf(text: string): PluggedKey {
  const blocks = [...text.replaceAll('\r', '').matchAll(keyBlock)]
  const [block, ...more] = blocks
  if (!block) return { faults: ['holds no private key in PEM'] }
  if (more.length > 0) return { faults: [`holds ${blocks.length} keys; one is wanted`] }
  if (block[1]?.startsWith('ENCRYPTED') || /^Proc-Type:.*ENCRYPTED/m.test(block[0]))
    return { faults: ['is encrypted: openssl pkey -in ca-key.pem -out <file> decrypts it; it is sealed again here'] }
  try {
    const key = createPrivateKey(block[0])
    const spki = new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    parsePublicKey(spki)
    return { key, spki, faults: [] }
  } catch (cause) {
    // Of what OpenSSL says nothing is passed on: it may quote the text.
    return { faults: [cause instanceof Problem ? (cause.violations[0]?.reason ?? '') : 'cannot be read as a key'] }
  }
}
