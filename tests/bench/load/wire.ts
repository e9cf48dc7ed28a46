/** Fields of a protobuf message as [number, bytes] for length-delimited ones; numbers are skipped. */
export function* fieldsOf(message: Buffer): Generator<readonly [field: number, bytes: Buffer]> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? 0
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const wire = tag & 7
    if (wire === 2) {
      const length = varint()
      yield [tag >>> 3, message.subarray(at, at + length)]
      at += length
    } else if (wire === 0) varint()
    else if (wire === 1) at += 8
    else if (wire === 5) at += 4
    else throw new Error(`wire type ${wire} in a response`)
  }
}

export const field = (number: number, bytes: Buffer): Buffer => {
  const head = [number * 8 + 2]
  let length = bytes.length
  for (; length > 127; length >>>= 7) head.push((length & 127) | 128)
  head.push(length)
  return Buffer.concat([Buffer.from(head), bytes])
}

export const textField = (number: number, text: string): Buffer => field(number, Buffer.from(text))

const headBytes = 5

/** One gRPC message, uncompressed, of these parts. */
export function framed(...parts: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUInt32BE(
    parts.reduce((sum, { length }) => sum + length, 0),
    1,
  )
  return Buffer.concat([head, ...parts])
}

/**
 * Tells of every gRPC message in the moment its last byte is read: the pieces in which it came, frame head included. They
 * are put together later, and only where somebody wants to read the message.
 */
export function unframer(onMessage: (pieces: readonly Buffer[], bytes: number) => void): (piece: Buffer) => void {
  let pieces: Buffer[] = []
  let size = 0
  let need = headBytes
  return (arrived) => {
    let piece = arrived
    while (piece.length > 0) {
      if (size < headBytes) {
        if (size > 0) piece = Buffer.concat([...pieces, piece])
        pieces = []
        size = 0
        if (piece.length >= headBytes) need = headBytes + piece.readUInt32BE(1)
        else need = Number.POSITIVE_INFINITY
      }
      const lack = need - size
      pieces.push(piece.length > lack ? piece.subarray(0, lack) : piece)
      size += Math.min(piece.length, lack)
      if (size < need) return
      const whole = pieces
      pieces = []
      size = 0
      onMessage(whole, need - headBytes)
      if (piece.length <= lack) return
      piece = piece.subarray(lack)
    }
  }
}

/** The message of a frame. */
export const messageIn = (frame: Buffer): Buffer => frame.subarray(headBytes)
