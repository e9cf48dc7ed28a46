import { readHuffman } from '#gateway/grpc/huffman.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One header, its name in lower case. */
export type Header = readonly [name: string, value: string]

/** What all know by number, from 1. Source: RFC 7541, appendix A. */
const known: readonly Header[] = `
:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|
:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`
  .replaceAll('\n', '')
  .split('|')
  .map((entry) => {
    const [name = '', value = ''] = entry.split('=')
    return [name, value]
  })

/** So much a client may have the reader remember; what both begin with, and we do not ask for more. */
const rememberedBytes = 4096
/** As Envoy takes: one that is remembered is named by a byte, and a call has about a dozen. */
const fieldsMax = 100
/** Of one header as both count it beside its text. */
const entryBytes = 32

/**
 * Reads the header blocks of one connection, in the order in which they came: each may refer to what stood in those
 * before. Throws `invalid` on bytes that are none and `too-many` on more than `fieldsMax` headers or `bytesMax`, counted as
 * HPACK counts them; then the connection is of no use any more. Source: RFC 7541.
 */
export function headerReader(bytesMax: number): (block: Buffer) => readonly Header[] {
  /** The oldest first, and what all of it counts. */
  const remembered: Header[] = []
  let size = 0
  let limit = rememberedBytes

  const entry = (index: number): Header => {
    const found = index <= known.length ? known[index - 1] : remembered[remembered.length + known.length - index]
    if (!found) throw new Problem('invalid', `a header of the unknown number ${index}`)
    return found
  }
  const remember = (...added: readonly Header[]) => {
    remembered.push(...added)
    for (const header of added) size += sizeOf(header)
    while (size > limit) size -= sizeOf(remembered.shift() ?? ['', ''])
  }

  return (block) => {
    const bytes = { block, at: 0 }
    const headers: Header[] = []
    let total = 0
    while (bytes.at < block.length) {
      const first = block[bytes.at] ?? 0
      if (first >> 5 === 1) {
        limit = number(bytes, 5)
        if (limit > rememberedBytes) throw new Problem('invalid', 'a header table larger than was offered')
        if (headers.length > 0) throw new Problem('invalid', 'a header table that changes within a block')
        remember()
        continue
      }
      const isIndexed = first >> 7 === 1
      const isKept = first >> 6 === 1
      const index = number(bytes, isIndexed ? 7 : isKept ? 6 : 4)
      const header = isIndexed ? entry(index) : ([index === 0 ? text(bytes) : entry(index)[0], text(bytes)] as const)
      if (isKept) remember(header)
      total += sizeOf(header)
      if (total > bytesMax) throw new Problem('too-many', `more than ${bytesMax} bytes of headers`)
      headers.push(header)
      if (headers.length > fieldsMax) throw new Problem('too-many', `more than ${fieldsMax} headers`)
    }
    return headers
  }
}

const sizeOf = ([name, value]: Header): number => name.length + value.length + entryBytes

type Bytes = { readonly block: Buffer; at: number }

function number(bytes: Bytes, bits: number): number {
  const most = 2 ** bits - 1
  let value = (bytes.block[bytes.at++] ?? 0) & most
  if (value < most) return value
  for (let shift = 0; shift <= 21; shift += 7) {
    const byte = bytes.block[bytes.at++]
    if (byte === undefined) break
    value += (byte & 127) << shift
    if (byte < 128) return value
  }
  throw new Problem('invalid', 'a header block with a number that is cut off or too large')
}

function text(bytes: Bytes): string {
  const isHuffman = (bytes.block[bytes.at] ?? 0) > 127
  const length = number(bytes, 7)
  const from = bytes.at
  bytes.at += length
  if (bytes.at > bytes.block.length) throw new Problem('invalid', 'a header block that ends within a text')
  const part = bytes.block.subarray(from, bytes.at)
  return isHuffman ? readHuffman(part) : part.toString('latin1')
}

/**
 * A header block that any reader understands by itself: nothing in it is to be remembered. It begins by saying so, as a
 * reader that made its table smaller waits for. Source: RFC 7541, §4.2.
 */
export const headerBlock = (headers: readonly Header[]): Buffer =>
  Buffer.concat([noTable, ...headers.flatMap(([name, value]) => [literal, textBytes(name), textBytes(value)])])
const noTable = Buffer.from([0x20])
const literal = Buffer.from([0])

function textBytes(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  const head: number[] = []
  let rest = bytes.length
  if (rest < 127) head.push(rest)
  else {
    head.push(127)
    for (rest -= 127; rest > 127; rest >>>= 7) head.push((rest & 127) | 128)
    head.push(rest)
  }
  return Buffer.concat([Buffer.from(head), bytes])
}
