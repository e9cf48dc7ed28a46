import type { ServiceDefinition } from '@grpc/grpc-js'

/** Where the application of the end-to-end tests listens; a port's name says its protocol, as Kubernetes has it. */
export const appPorts = { http: 8080, http2: 8081, grpc: 8082, tcp: 8083, tls: 8084 } as const
export type PortName = keyof typeof appPorts

/** What the application says with every answer: who it is, what it heard, and the caller as its proxy tells it (XFCC). */
export type Said = {
  readonly cluster: string
  readonly pod: string
  readonly protocol: string
  readonly text: string
  readonly caller: string
}

const bytes = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
}

/** One call and one stream of plain bytes, so that no message type stands between the test and the wire. */
export const echoService: ServiceDefinition = {
  say: { path: '/isthmus.test.Echo/Say', requestStream: false, responseStream: false, ...bytes },
  chat: { path: '/isthmus.test.Echo/Chat', requestStream: true, responseStream: true, ...bytes },
}

export function parseSaid(text: string): Said {
  const value = JSON.parse(text) as Partial<Said>
  if (typeof value.cluster !== 'string' || typeof value.pod !== 'string') throw new Error(`no answer of ours: ${text}`)
  return value as Said
}
