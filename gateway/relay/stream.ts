import type { GrpcCall } from '#gateway/grpc/call.ts'
import type { Hub } from '#gateway/relay/hub.ts'
import { nextResponse, onSent } from '#gateway/relay/next-response.ts'
import { type ConnectedProxy, type Identity, identityText, proxyFrom } from '#gateway/relay/node.ts'
import { type Peer, peerOf } from '#gateway/relay/peer.ts'
import { type IncomingRequest, parseRequest } from '#gateway/relay/request.ts'
import { isServed, type Mode, onRequest, onTarget, openStream, type StreamState } from '#gateway/relay/stream-state.ts'
import type { WriteAccount } from '#gateway/relay/write-budget.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type ResourceSet, typeUrls } from '#mesh/model/resource.ts'

/** One open stream, as the server sees it. */
export type AdsStream = {
  readonly mode: Mode
  readonly connectedAt: number
  readonly peer: Peer
  /** Undefined until the first request. */
  readonly proxy: () => ConnectedProxy | undefined
  readonly state: () => StreamState | undefined
  /** Asks for the newest resources and sends what may leave. */
  readonly refresh: (changedAt: number) => void
  /** Once a second: ends the stream when its client does not move. */
  readonly tick: (now: number) => void
  readonly end: (problem: Problem) => void
}

const healthType = 'type.googleapis.com/istio.v1.HealthInformation'

/**
 * Serves one call: headers at once, nothing read before the client is known, one response on the wire at a time. What
 * a client that never reads costs is that one response.
 */
export function serveStream(call: GrpcCall, mode: Mode, hub: Hub): void {
  const connectedAt = hub.now()
  const peer = peerOf(call.caller, new Date(connectedAt))
  let proxy: ConnectedProxy | undefined
  let account: WriteAccount | undefined
  let state: StreamState | undefined
  let newest: () => ResourceSet | undefined = () => undefined
  let writingSince: number | undefined
  let onTheWay = 0
  /** Something may be left to say once what is being written has left. */
  let again = false
  let requests = 0
  let refusals = 0
  let heardAt = connectedAt
  let closed = false

  const end = (problem: Problem) => {
    if (closed) return
    const stuck = writingSince !== undefined
    close()
    call.end(problem)
    // The end waits behind what the client does not read.
    if (stuck) setTimeout(() => hub.drop(peer.address), 1000).unref()
  }
  const close = () => {
    if (closed) return
    closed = true
    sent()
    account?.close()
    if (proxy) hub.left(proxy)
    hub.streams.delete(stream)
  }

  const sent = () => {
    if (onTheWay > 0) account?.gone(onTheWay)
    onTheWay = 0
    writingSince = undefined
  }

  /** What goes wrong with one stream ends that one: a round, a write that has left, the clock go on. */
  const orEnd = (act: () => void) => {
    try {
      act()
    } catch (error) {
      end(hub.problemOf(error, peer))
    }
  }

  const pump = () => orEnd(sendNext)
  const sendNext = () => {
    if (writingSince !== undefined) again = true
    if (closed || !state || !account || writingSince !== undefined) return
    if (refusals > hub.limits.nacksPerSecond) return
    if (!account.mayWrite(pump)) return
    const only = state.onlyChanged
    const plan = nextResponse(state, hub.now())
    if (!plan) return
    const { type, lastNonce } = plan.subscription
    const frame = hub.framer.frame({ mode, type, resources: plan.resources, removed: plan.removed }, lastNonce)
    const now = hub.now()
    onSent(state, plan, frame.nonce, now)
    hub.onSent(type, plan.resources.length, frame.size)
    writingSince = now
    onTheWay = frame.size
    account.written(onTheWay)
    // Endpoints that alone differed are followed by nothing; new clusters are, by theirs.
    again = only?.type !== typeUrls.endpoint || only.own.size > 0
    call.write(frame.pieces, taken)
  }

  const taken = () => {
    sent()
    if (again) pump()
  }

  const refresh = (changedAt: number) => {
    const held = state
    if (!held) return
    orEnd(() => {
      const target = newest()
      if (target) onTarget(held, target, changedAt)
      sendNext()
    })
  }

  const onData = (request: IncomingRequest, identity: Identity) => {
    if (closed) return
    heardAt = hub.now()
    if (++requests > hub.limits.requestsPerSecond) call.pause()
    if (!proxy && request.type === healthType) return
    if (!proxy || !state) {
      const named = proxyFrom(request.node, identity, hub.limits.metadataBytes)
      hub.admit(named)
      proxy = named
      account = hub.budget.open(identityText(identity))
      state = openStream(mode, hub.limits, hub.judgeFor(proxy))
      newest = hub.resourcesFor(proxy)
      const target = newest()
      if (target) onTarget(state, target, hub.now())
    }
    if (!isServed(request.type)) return hub.onUnknownType(request.type, proxy)
    const events = onRequest(state, request, hub.now())
    if (events === 'too-many')
      throw new Problem('too-many', `a stream may subscribe to ${hub.limits.names} names; this one asks for more`)
    for (const event of events) {
      if (event.kind === 'nack') refusals += 1
      hub.onEvent(event, proxy)
    }
    pump()
  }

  const stream: AdsStream = {
    mode,
    connectedAt,
    peer,
    proxy: () => proxy,
    state: () => state,
    refresh,
    tick: (now) => {
      if (state?.atRest && requests <= hub.limits.requestsPerSecond) {
        requests = 0
        refusals = 0
        return
      }
      if (requests > hub.limits.requestsPerSecond) call.resume()
      requests = 0
      refusals = 0
      if (!proxy && now - connectedAt > hub.limits.firstRequestMs)
        return end(
          new Problem('unavailable', `no request within ${hub.limits.firstRequestMs} ms of the stream's start`),
        )
      const unanswered = state?.subscriptions.values().some((s) => s.outstanding !== undefined)
      const stuck = writingSince !== undefined && now - writingSince > hub.limits.writeMs
      const silent = unanswered && now - heardAt > hub.limits.answerMs
      if (!stuck && !silent) return pump()
      hub.log.warn({ proxy: proxy?.id, stuck, silent }, 'closed a stream whose client does not read or answer')
      end(new Problem('unavailable', 'the client does not read or answer'))
      hub.drop(peer.address)
    },
    end,
  }

  call.onClose(close)
  call.onEnd(() => {
    close()
    call.end()
  })
  if (hub.streams.size >= hub.limits.streams) {
    const full = new Problem('too-many', `the relay has its ${hub.limits.streams} streams; try another or later`)
    end(hub.problemOf(full, peer))
    return
  }
  hub.streams.add(stream)
  call.open()
  hub
    .authenticate(peer)
    .then((identity) => {
      call.onMessage((message) => {
        try {
          onData(parseRequest(mode, message), identity)
        } catch (error) {
          end(hub.problemOf(error, peer))
        }
      })
    })
    .catch((error: unknown) => end(hub.problemOf(error, peer)))
}
