import { Problem } from '#mesh/model/problem.ts'

/**
 * How many bits stand for each byte, and last for the end: `a` is 5, `z` is 30. The code is canonical, so that the
 * lengths say all of it. Source: RFC 7541, appendix B.
 */
const lengths = [
  'isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibcccccccccccccccccccc',
  'ccdcdioijbkabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrt',
  'qrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz',
].join('')
const [shortest, longest] = [5, 30]
const end = 256

/** The symbols in the order of their codes, and for each length the first code and where its symbols begin. */
const symbols: number[] = []
const firstCode: number[] = []
const firstAt: number[] = []
for (let length = shortest, code = 0; length <= longest; length++, code *= 2) {
  firstCode[length] = code
  firstAt[length] = symbols.length
  for (let symbol = 0; symbol <= end; symbol++)
    if (lengths.charCodeAt(symbol) - 97 + shortest === length) symbols.push(symbol)
  code += symbols.length - (firstAt[length] ?? 0)
}

/** The text that the bytes stand for, one character for each byte of it. Throws `invalid` on what is no such code. */
export function readHuffman(bytes: Buffer): string {
  const text = Buffer.allocUnsafe(Math.floor((bytes.length * 8) / shortest))
  let size = 0
  let code = 0
  let length = 0
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1)
      length += 1
      const at = (firstAt[length] ?? 0) + code - (firstCode[length] ?? 0)
      if (length < shortest || at >= (firstAt[length + 1] ?? symbols.length)) continue
      const symbol = symbols[at]
      if (symbol === undefined || symbol === end) throw new Problem('invalid', 'a header text with a code for nothing')
      text[size++] = symbol
      code = 0
      length = 0
    }
  // What is left over is the beginning of the end's code: ones, and fewer than a byte.
  if (length > 7 || code !== 2 ** length - 1) throw new Problem('invalid', 'a header text that ends within a code')
  return text.toString('latin1', 0, size)
}
