import type { Answers } from '#mesh/model/explanation.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { Counted } from '#mesh/model/load.ts'

/** How the calls of one cluster to a service ended in one window, wherever they went; of proxies that are measured. */
export function answersIn({ rows, windowMs }: Pick<Counted, 'rows' | 'windowMs'>, key: ServiceKey): Answers {
  const own = rows.filter(({ service }) => service === key)
  return {
    calls: own.reduce((sum, { ok, errors }) => sum + ok + errors, 0),
    errors: own.reduce((sum, { errors }) => sum + errors, 0),
    forMs: windowMs,
  }
}
