import { expect, test } from 'vitest'
import { relayClusterRules, relayRules } from '#cli/onboard/manifests/rbac.ts'
import { watchedKinds } from '#gateway/watch/kube-kinds.ts'
import { FakeKubeApi } from '#tests/support/fake-kube-api.ts'
import { type WatchedObject, watchSuite } from '#tests/support/watch-suite.ts'

// The same with a real API server: tests/kubernetes/watch.test.ts.
watchSuite(async () => {
  const resourceOf = ({ kind }: WatchedObject): string =>
    watchedKinds.find((one) => one.kind === kind)?.resource ?? kind
  const served = watchedKinds.map(({ resource }) => resource).filter((resource) => resource !== 'serviceexports')
  const fake = await FakeKubeApi.start(served)
  return {
    kubeconfig: fake.kubeconfig,
    put: async (object) => void fake.put(resourceOf(object), object),
    remove: async (object) => fake.remove(resourceOf(object), `${object.metadata.namespace}/${object.metadata.name}`),
    serveExports: async (isServed) => {
      fake.serve('serviceexports', isServed)
      if (!isServed) fake.endWatches('end', 'serviceexports')
    },
    away: async (isAway) => fake.away(isAway),
    stop: () => fake.stop(),
  }
})

test('what is watched is what a relay may look at, and a Secret is never', () => {
  const looked = [...relayClusterRules, ...relayRules]
    .filter(({ verbs }) => ['list', 'watch', '*'].some((verb) => verbs.includes(verb)))
    .flatMap(({ apiGroups, resources, verbs }) => {
      expect(verbs).toEqual(expect.arrayContaining(['get', 'list', 'watch']))
      return resources.map((resource) => `${apiGroups.join()}/${resource}`)
    })
  expect(looked.toSorted()).toEqual(watchedKinds.map(({ group, resource }) => `${group}/${resource}`).toSorted())
})
