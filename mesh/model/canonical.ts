import { createHash } from 'node:crypto'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** JSON with sorted keys, no spaces and no undefined members: equal values give equal text, whatever the order of input. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v as Json)).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const object = value as { readonly [key: string]: Json | undefined }
  const members = Object.keys(object)
    .filter((key) => object[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(object[key] as Json)}`)
  return `{${members.join(',')}}`
}

/** SHA-256 over the canonical JSON, 64 hex digits. */
export const hashOf = (value: Json): string => sha256Hex(canonicalJson(value))

export const sha256Hex = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')
