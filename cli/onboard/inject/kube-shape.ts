/** Any mapping of a manifest, as it was written. */
export type Shape = Readonly<Record<string, unknown>>

export const isShape = (value: unknown): value is Shape =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The mapping behind a key; an empty one where there is none. */
export function shapeAt(of: Shape, key: string): Shape {
  const value = of[key]
  return isShape(value) ? value : {}
}

/** The mappings of a list behind a key. */
export function shapesAt(of: Shape, key: string): readonly Shape[] {
  const value = of[key]
  return Array.isArray(value) ? value.filter(isShape) : []
}

export const textAt = (of: Shape, key: string): string => {
  const value = of[key]
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

/** With a key set to a value, or without it. */
export function withKey(of: Shape, key: string, value: unknown): Shape {
  if (value !== undefined) return { ...of, [key]: value }
  const { [key]: _, ...rest } = of
  return rest
}
