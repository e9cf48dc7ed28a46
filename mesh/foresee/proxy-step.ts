import { bad, type Fault, good, unsure } from '#mesh/foresee/path.ts'
import type { HeldType, Seen } from '#mesh/foresee/seen.ts'
import type { CallingPod, Step } from '#mesh/model/explanation.ts'
import { outboundNameOf } from '#mesh/model/host.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { Callable } from '#mesh/translate/callable.ts'
import { plainTcpAddressOf } from '#mesh/translate/outbound-listeners.ts'

/** Whether the caller's proxy is connected and has taken what such calls need. */
export function proxyStep(seen: Seen, caller: CallingPod, callable: Callable | undefined): Step {
  const { relay } = seen
  if (!relay) return unsure('proxy', "only the caller's relay knows its proxies")
  const fault = faultOf(seen, caller, callable)
  if (fault) return bad('proxy', fault)
  const types = Object.entries(relay.proxy?.types ?? {})
  const due = types.filter(([, { state }]) => state === 'STALE').map(([type]) => type)
  if (due.length > 0) return unsure('proxy', `it is connected, and has yet to take the newest ${due.join(', ')}`)
  return good('proxy', 'it is connected and has taken everything that such calls need')
}

/** So long nothing is acknowledged: it is not on its way any more. */
const lateMs = 10_000

function faultOf(
  seen: Seen,
  { cluster, namespace, pod }: CallingPod,
  callable: Callable | undefined,
): Fault | undefined {
  const { relay, revision } = seen
  const at = `pod ${namespace}/${pod}`
  const show = `isthmus proxies --cluster ${cluster}`
  if (!relay?.pod)
    return { saw: `${cluster} has no pod ${namespace}/${pod}`, fix: `name one that is there: ${show}`, at }
  if (!relay.pod.meshed)
    return {
      saw: `${namespace}/${pod} has no proxy, so its calls do not go through the mesh`,
      fix: 'give it one, and the label security.istio.io/tlsMode=istio',
      at,
    }
  if (!relay.proxy)
    return {
      saw: `the proxy of ${namespace}/${pod} is not connected to its relay`,
      fix: `look at the log of its proxy container, and that it runs: ${show}`,
      at,
    }
  if (relay.configFault !== undefined)
    return {
      saw:
        'the newest config from the centre is not understood here, so that of revision ' +
        `${revision ?? 'none'} stays: ${relay.configFault}`,
      fix: 'upgrade the older of relay and centre: isthmus version',
      at: `cluster ${cluster}`,
    }
  const { proxy, types } = relay.proxy
  const refused = Object.entries(types).flatMap(([type, held]) => refusedIn(type, held, callable) ?? [])
  const [first] = refused
  if (first)
    return {
      saw: `it refused ${first.name}: ${first.detail}`,
      fix: `see what is set aside and why: ${show}`,
      at: first.at ?? at,
    }
  const missing = callable && listenerFault(proxy, callable)
  if (missing) return { ...missing, at }
  const late = Object.entries(types).find(([, { state, behindMs = 0 }]) => state === 'STALE' && behindMs > lateMs)
  if (late === undefined) return undefined
  const forSeconds = Math.round((late[1].behindMs ?? 0) / 1000)
  return {
    saw: `it still has an old revision: it has not taken the newest ${late[0]} for ${forSeconds} s`,
    fix: `look at the log of its proxy container; where it hangs, restart it: ${show}`,
    at,
  }
}

type Refused = { readonly name: string; readonly detail: string; readonly at?: string }

/** What was refused and concerns the call: it bears a name that the call needs, or comes from its service. */
function refusedIn(
  type: string,
  { state, setAside, nack }: HeldType,
  callable: Callable | undefined,
): Refused | undefined {
  if (state !== 'NACK' || !callable) return undefined
  const { port } = callable.port
  const needed = new Set([outboundNameOf(callable.host, port), String(port)])
  const found = setAside.find(({ name, owner }) => needed.has(name) || owner === `service ${callable.key}`)
  // While it is searched which of them is to blame, it may be any.
  if (!found && setAside.length > 0) return undefined
  return {
    name: `${type} ${found?.name ?? 'resources'}`,
    detail: nack?.detail.replace(/\s+/g, ' ').slice(0, 300) ?? 'as others did',
    ...(found?.owner === undefined ? {} : { at: found.owner }),
  }
}

function listenerFault(proxy: MeshProxy, callable: Callable): Omit<Fault, 'at'> | undefined {
  const { port, protocol } = callable.port
  if (isHttp(protocol)) return undefined
  const place = `${callable.host}:${port}`
  if (proxy.plain)
    return plainTcpAddressOf(proxy.plain, callable) === undefined
      ? {
          saw: `its proxy has no listener for ${place}: nothing in a stream names it, so it needs an address of its own`,
          fix: `give isthmus proxy one (--tcp ${place}=<ip>), and dial that`,
        }
      : undefined
  return callable.clusterIps.length === 0 && !callable.headless
    ? {
        saw:
          `its proxy has no listener for ${place}: a stream is known by the address that is dialled, ` +
          'and no Service here has one',
        fix: `create a Service ${callable.key} with port ${port} in the caller's cluster, without a selector`,
      }
    : undefined
}
