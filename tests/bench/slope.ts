/** A figure at a point: of a time, or of a number of things. */
export type Point = { readonly x: number; readonly y: number }

/** What `y` grows by for one more `x`: least squares. NaN below two different points. */
export function slopeOf(points: readonly Point[]): number {
  const mean = (pick: (point: Point) => number) => points.reduce((sum, one) => sum + pick(one), 0) / points.length
  const [x, y] = [mean((one) => one.x), mean((one) => one.y)]
  const of = (pick: (point: Point) => number) => points.reduce((sum, one) => sum + (one.x - x) * pick(one), 0)
  return of((one) => one.y - y) / of((one) => one.x - x)
}
