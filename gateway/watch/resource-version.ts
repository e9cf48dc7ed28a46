const counted = /^[1-9][0-9]{0,38}$/

/**
 * Whether version `a` of an object, or of a list, came before `b`. False where the two cannot be ordered: Kubernetes' own
 * versions are whole numbers that grow, whatever else a server says can only be equal or not. Source: Kubernetes,
 * KEP-5504 (comparable resource versions); why: docs/decisions/watch-of-kubernetes.md.
 */
export function isOlder(a: string, b: string): boolean {
  if (!counted.test(a) || !counted.test(b)) return false
  return a.length === b.length ? a < b : a.length < b.length
}
