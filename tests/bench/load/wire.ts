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

/** One gRPC message, uncompressed. */
export function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(5 + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  message.copy(frame, 5)
  return frame
}

/** Hands out whole gRPC messages from the pieces in which they arrive. */
export function unframer(onMessage: (message: Buffer) => void): (piece: Buffer) => void {
  let pieces: Buffer[] = []
  let size = 0
  return (piece) => {
    pieces.push(piece)
    size += piece.length
    for (;;) {
      if (size < 5) return
      let whole = pieces[0] ?? piece
      if (whole.length < 5) {
        whole = Buffer.concat(pieces)
        pieces = [whole]
      }
      const length = whole.readUInt32BE(1) + 5
      if (size < length) return
      if (whole.length < length) whole = Buffer.concat(pieces)
      const rest = whole.length >= size ? whole.subarray(length) : Buffer.concat(pieces).subarray(length)
      pieces = rest.length > 0 ? [rest] : []
      size -= length
      onMessage(whole.subarray(5, length))
    }
  }
}
