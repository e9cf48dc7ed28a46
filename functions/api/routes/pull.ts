import { createRoute } from '@hono/zod-openapi'
import { type ClusterCaller, requireCluster } from '#control/caller.ts'
import { pull } from '#control/deliver.ts'
import { reads } from '#control/stream-change.ts'
import { bodyBytesMax, forCluster } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, clusterSecurity, json, problems, wire } from '#functions/api/schemas.ts'
import { type PullAnswer, type PullRequest, pullAnswerSchema, pullRequestSchema } from '#mesh/wire/pull.ts'

/** Held pulls cost a little memory each; past this many, all are answered at once. */
const waitingMax = 2000
/** Of one cluster, whose relay holds one: past this many, the one that waits longest is answered with what there is. */
const waitingPerClusterMax = 4

/** The truth of the channel: what a cluster lacks. */
export function pullRoutes(api: Api, door: Door): void {
  let waiting = 0
  const giveUps = new Map<string, Set<() => void>>()
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/pull',
      tags: ['relay'],
      summary: 'Everything that differs from what the relay has; with waitMs, as soon as there is something',
      security: clusterSecurity,
      middleware: [forCluster(door, bodyBytesMax.usual)] as const,
      request: { body: body(wire(pullRequestSchema, 'PullRequest')) },
      responses: { 200: json(wire(pullAnswerSchema, 'PullAnswer'), 'Deltas and snapshots'), ...problems },
    }),
    async (c) => c.json(await answerTo(requireCluster(c.get('caller')), c.req.valid('json'), c.req.raw.signal), 200),
  )

  async function answerTo(caller: ClusterCaller, request: PullRequest, signal: AbortSignal): Promise<PullAnswer> {
    const { db, now } = door.centre
    const wait = request.waitMs ?? 0
    // Listens before it looks, so that what commits between the two is not missed.
    const news = wait > 0 && waiting < waitingMax ? newsFor(caller, wait, signal) : undefined
    try {
      const answer = await pull(db, caller, request, now())
      const empty = answer.streams.length === 0 && answer.gone.length === 0
      door.metrics.pulls.inc({ outcome: empty ? 'nothing' : 'delivered' })
      if (!empty || news === undefined) return answer
      return (await news.came) ? await pull(db, caller, request, now()) : answer
    } finally {
      news?.end()
    }
  }

  function newsFor(
    caller: ClusterCaller,
    ms: number,
    signal: AbortSignal,
  ): { readonly came: Promise<boolean>; end(): void } {
    door.metrics.waiting.set(++waiting)
    const own = giveUps.get(caller.id) ?? new Set()
    giveUps.set(caller.id, own)
    let end: () => void = () => undefined
    const came = new Promise<boolean>((resolve) => {
      const giveUp = () => {
        own.delete(giveUp)
        resolve(false)
      }
      if (own.size >= waitingPerClusterMax) [...own][0]?.()
      own.add(giveUp)
      const timer = setTimeout(giveUp, ms)
      const unlisten = door.centre.bus.listen((note) => {
        if (note.kind === 'streams' && note.changes.some((change) => reads(caller.name, change))) resolve(true)
        if (note.kind === 'cluster-void' && note.clusterId === caller.id) giveUp()
      })
      signal.addEventListener('abort', giveUp)
      if (signal.aborted) giveUp()
      end = () => {
        clearTimeout(timer)
        unlisten()
        signal.removeEventListener('abort', giveUp)
        giveUp()
        if (own.size === 0 && giveUps.get(caller.id) === own) giveUps.delete(caller.id)
        door.metrics.waiting.set(--waiting)
      }
    })
    return { came, end: () => end() }
  }
}
