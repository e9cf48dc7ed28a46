import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { Problem } from '#mesh/model/problem.ts'

type Answers = Readonly<Record<string, Json | string | readonly Json[]>>

/** An API server that answers what it is given by path: an object, a list, or text; `not-found` for all else. */
export function fakeClusterApi(answers: Answers): ClusterApi & { readonly asked: string[] } {
  const asked: string[] = []
  const find = async (path: string) => answers[path] as Json | undefined
  return {
    ...{ said: 'context test', server: 'https://api.test', asked, find },
    call: async (method, path, { body } = {}) => {
      asked.push(`${method} ${path}`)
      const answer = answers[path]
      if (typeof answer === 'function') return (answer as (body: unknown) => unknown)(body)
      if (answer === undefined) throw new Problem('not-found', `${path} is not there`)
      return answer
    },
    list: async (path) => (answers[path] as readonly Json[] | undefined) ?? [],
    remove: async () => undefined,
    pause: async () => undefined,
    time: async () => undefined,
  }
}
