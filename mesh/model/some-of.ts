/** Names for a sentence: all of a few, the first of many (`a, b, c and 214 more`), so that no text grows with a fleet. */
export const someOf = (names: readonly (string | number)[], shown = 5): string =>
  names.slice(0, shown).join(', ') + (names.length > shown ? ` and ${names.length - shown} more` : '')
