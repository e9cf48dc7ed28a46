/** The program and version that an image stands for in the sandbox. */
export type Image = { readonly app: string; readonly version: string }

export const knownApps: readonly string[] = ['productpage', 'details', 'reviews', 'ratings', 'echo']

/**
 * What runs for an image: `bookinfo-reviews:v3`, `echo:v1`, and the names of Istio's own manifests
 * (`docker.io/istio/examples-bookinfo-reviews-v3:1.20.3`). Undefined for every other image: nothing is downloaded here.
 */
export function imageOf(image: string): Image | undefined {
  const [, name = '', tag] = /^(?:.*\/)?([^/:@]+)(?::([^@]+))?(?:@.*)?$/.exec(image) ?? []
  const [, app, version] = /^(?:(?:examples-)?bookinfo-)?([a-z]+)(?:-(v\d+))?$/.exec(name) ?? []
  if (app === undefined || !knownApps.includes(app)) return undefined
  return { app, version: version ?? tag ?? 'v1' }
}
