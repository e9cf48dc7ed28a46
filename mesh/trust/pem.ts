import { Problem } from '#mesh/model/problem.ts'

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PUBLIC KEY'

/** The PEM form of DER bytes, lines of 64, with a newline at the end. */
export function toPem(der: Uint8Array, label: PemLabel = 'CERTIFICATE'): string {
  const text = Buffer.from(der.buffer, der.byteOffset, der.length).toString('base64')
  let lines = ''
  for (let at = 0; at < text.length; at += 64) lines += `${text.slice(at, at + 64)}\n`
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`
}

const base64 = /^[A-Za-z0-9+/]*={0,2}$/

/**
 * The DER of every block of `text`, in order; text around the blocks is ignored, as everywhere (RFC 7468 §2).
 *
 * `labels` are those that may occur. Throws `invalid` when there is no block, a block of another label (a private key in a
 * bundle, say), a block without its end, an edge that shares its line with something else (a newline was lost, and a block
 * would go unseen), or base64 that is not in the one canonical form.
 */
export function parsePem(text: string, labels: readonly string[], what: string): Uint8Array[] {
  const blocks: Uint8Array[] = []
  let open: { readonly label: string; readonly lines: string[] } | undefined
  for (const line of text.split(/\r?\n/)) {
    const [, edge, label] = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----\s*$/.exec(line) ?? []
    if (edge === undefined || label === undefined) {
      if (/-----(BEGIN|END) /.test(line)) throw fault(what, 'a line holds more than the edge of a block')
      open?.lines.push(line.trim())
    } else if (edge === 'BEGIN') {
      if (open) throw fault(what, `a block ${open.label} has no end`)
      if (!labels.includes(label)) throw fault(what, `it holds a ${label}; only ${labels.join(' or ')} belongs here`)
      open = { label, lines: [] }
    } else {
      if (open?.label !== label) throw fault(what, `a block ${label} ends that never began`)
      blocks.push(decodeBase64(open.lines.join(''), what))
      open = undefined
    }
  }
  if (open) throw fault(what, `its block ${open.label} has no end: the text is cut off`)
  if (blocks.length === 0) throw fault(what, `it has no block ${labels.join(' or ')}`)
  return blocks
}

function decodeBase64(text: string, what: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  if (!base64.test(text) || bytes.toString('base64') !== text) throw fault(what, 'a block is not base64')
  return new Uint8Array(bytes)
}

const fault = (what: string, reason: string): Problem =>
  new Problem('invalid', `${what} cannot be read as PEM: ${reason}`, { violations: [{ path: what, reason }] })
