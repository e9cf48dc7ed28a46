/** Annotations of a ServiceImport that keep the addresses of its parts: `isthmus.dev/addresses-0`, `-1` and so on. */
const prefix = 'isthmus.dev/addresses-'
/** Each is cut well below what a reader takes in one annotation; so many of them hold some 1,500 pods. */
const charsMax = 3500
const annotationsMax = 16

/** The annotations that say which part has which address, in order of the parts; what is past the bound is left out. */
export function addressAnnotations(parts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const texts: string[] = []
  for (const part of Object.keys(parts).sort()) {
    const text = `${part}=${parts[part]}`
    const last = texts.at(-1)
    if (last !== undefined && last.length + 1 + text.length <= charsMax) texts[texts.length - 1] = `${last} ${text}`
    else if (texts.length < annotationsMax) texts.push(text)
  }
  return Object.fromEntries(texts.map((text, at) => [`${prefix}${at}`, text]))
}

/** What annotations say of addresses; a piece that makes no sense is none. */
export function parseAddressAnnotations(
  annotations: Readonly<Record<string, string>> | null | undefined,
): Readonly<Record<string, string>> {
  const parts: [string, string][] = []
  for (let at = 0; at < annotationsMax; at += 1) {
    const pieces = annotations?.[`${prefix}${at}`]?.slice(0, charsMax).split(' ') ?? []
    for (const piece of pieces) {
      const [part = '', address = '', more] = piece.split('=')
      if (more === undefined && /^[a-z0-9.-]{1,127}$/.test(part) && /^[0-9.]{7,15}$/.test(address))
        parts.push([part, address])
    }
  }
  return Object.fromEntries(parts.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
