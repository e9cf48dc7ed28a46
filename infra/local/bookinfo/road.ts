import { sniOf } from '#mesh/model/host.ts'
import { appPort, gatewayPort, namespace } from '../plan.ts'
import type { Served } from './call.ts'

/** One station of a request's road: whose it is, in which cluster, and what happens there. */
export type Station = { readonly who: string; readonly cluster: string; readonly does: string }

/**
 * The stations of one call between two services, in order: application, Envoy, the callee's gateway where a border is
 * crossed, Envoy, application. Networks of the sandbox are its clusters: whoever crosses a border takes a gateway.
 */
export function roadOf(service: string, from: Served & { readonly app: string }, to: Served): Station[] {
  const sni = sniOf(`${service}.${namespace}.svc.cluster.local`, appPort)
  const [here, there] = [from.cluster, to.cluster]
  const gateway: Station = {
    who: `east-west gateway of ${there}`,
    cluster: there,
    does: `Port ${gatewayPort}. Passes the connection on by its name and sees no plaintext.`,
  }
  return [
    { who: `${from.app} ${from.version}`, cluster: here, does: `Pod ${from.pod} asks http://${service}:${appPort}.` },
    {
      who: `Envoy beside ${from.app}`,
      cluster: here,
      does: `Opens mutual TLS as ${to.caller ?? 'itself'}, for ${sni}.`,
    },
    ...(here === there ? [] : [gateway]),
    {
      who: `Envoy beside ${service}`,
      cluster: there,
      does: `Proves the caller, and itself as ${to.callee ?? service}.`,
    },
    { who: `${service} ${to.version}`, cluster: there, does: `Pod ${to.pod} answers.` },
  ]
}

/** The road of the page itself: the front door is no part of the mesh. */
export const roadToPage = (app: string, to: Served): Station[] => [
  { who: 'your browser', cluster: '', does: 'Asks in plain HTTP: the page is on this machine.' },
  { who: 'front door', cluster: '', does: 'An Envoy that stands for your DNS: asks whichever cluster answers.' },
  {
    who: `Envoy beside ${app}`,
    cluster: to.cluster,
    does: `Lets plain HTTP in for ${app} alone; all else must be mutual TLS.`,
  },
  { who: `${app} ${to.version}`, cluster: to.cluster, does: `Pod ${to.pod} answers.` },
]
