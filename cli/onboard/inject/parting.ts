import { isShape, type Shape, shapeAt, textAt, withKey } from '#cli/onboard/inject/kube-shape.ts'

/**
 * Callers hear from the sidecar that a pod is going when it begins to end, and need a moment to go elsewhere. Many programs
 * take nothing from SIGTERM on: it comes to them this much later.
 */
const sleep = { seconds: 2 } as const

/** A container that waits before it is told to end; itself where it has a hook of its own for that. */
export function withParting(container: Shape): Shape {
  const lifecycle = shapeAt(container, 'lifecycle')
  if (lifecycle['preStop'] !== undefined) return container
  return { ...container, lifecycle: { ...lifecycle, preStop: { sleep: { ...sleep } } } }
}

/** The containers that were given one, by name: whether they had a `lifecycle` before. */
export const partingsOf = (containers: readonly unknown[]): Readonly<Record<string, boolean>> =>
  Object.fromEntries(
    containers
      .filter(isShape)
      .filter((one) => withParting(one) !== one)
      .map((one) => [textAt(one, 'name'), isShape(one['lifecycle'])]),
  )

/** The container as it was, where what it waits is still ours. */
export function withoutParting(container: Shape, hadLifecycle: unknown): Shape {
  const { preStop, ...lifecycle } = shapeAt(container, 'lifecycle')
  const isOurs =
    isShape(preStop) && Object.keys(preStop).length === 1 && shapeAt(preStop, 'sleep')['seconds'] === sleep.seconds
  if (typeof hadLifecycle !== 'boolean' || !isOurs) return container
  const isLeft = hadLifecycle || Object.keys(lifecycle).length > 0
  return withKey(container, 'lifecycle', isLeft ? lifecycle : undefined)
}
