import { hash } from 'node:crypto'
import { Problem, type Violation } from '#mesh/model/problem.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** How deep arrays and objects may lie in each other: ours are at a fifth of it, and recursion over JSON has to end. */
export const jsonDepthMax = 64

/**
 * JSON with sorted keys, no spaces and no undefined members: equal values give equal text, whatever the order of input.
 * Throws `invalid` past `jsonDepthMax`.
 */
export const canonicalJson = (value: Json): string => render(value, 0)

function render(value: Json, depth: number): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (depth === jsonDepthMax) throw new Problem('invalid', `the value ${tooDeep}`)
  if (Array.isArray(value)) return `[${value.map((v) => render(v as Json, depth + 1)).join(',')}]`
  const object = value as { readonly [key: string]: Json | undefined }
  const members = Object.keys(object)
    .filter((key) => object[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${render(object[key] as Json, depth + 1)}`)
  return `{${members.join(',')}}`
}

const tooDeep = `is nested more than ${jsonDepthMax} levels deep`

/** Why a text is not taken from outside: no store keeps a NUL character, and half of a surrogate pair is no Unicode text. */
export function textFault(text: string): string | undefined {
  if (text.includes('\0')) return 'holds a NUL character (U+0000)'
  return text.isWellFormed() ? undefined : 'holds half of a surrogate pair, which is no Unicode text'
}

/** The first place in a parsed JSON value that is not taken from outside, and why: a text by `textFault`, or the depth. */
export function jsonFault(value: unknown, path = '', depth = 0): Violation | undefined {
  const found = (reason: string | undefined, at = path): Violation | undefined =>
    reason === undefined ? undefined : { path: at.toWellFormed().replaceAll('\0', '\ufffd').slice(0, 300), reason }
  if (typeof value === 'string') return found(textFault(value))
  if (typeof value !== 'object' || value === null) return undefined
  if (depth === jsonDepthMax) return found(tooDeep)
  const isList = Array.isArray(value)
  for (const [key, part] of Object.entries(value)) {
    const at = isList ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    const fault = found(isList ? undefined : textFault(key), at) ?? jsonFault(part, at, depth + 1)
    if (fault) return fault
  }
  return undefined
}

/** SHA-256 over the canonical JSON, 64 hex digits. */
export const hashOf = (value: Json): string => sha256Hex(canonicalJson(value))

export const sha256Hex = (data: string | Uint8Array): string => hash('sha256', data)
