import { mkdirSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type Program, startProgram, tailOf } from '#tests/support/fleet-program.ts'
import type { KubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

export type ReplicaStatus = {
  readonly state: string
  readonly trustDomain?: string
  readonly lead?: { readonly leads: boolean; readonly holder?: string; readonly fault?: string }
  readonly centre?: { readonly state: string; readonly toTell: number }
  readonly conditions?: readonly { readonly type: string; readonly message: string; readonly object: string }[]
  readonly proxies?: readonly { readonly id: string }[]
}

/** A replica of a cluster's relay: the program itself, with an address of its own in the network of the test. */
export type Replica = {
  readonly name: string
  readonly address: string
  start(): void
  /** SIGKILL. */
  kill(): Promise<void>
  /** SIGTERM. */
  stop(): Promise<void>
  status(): Promise<ReplicaStatus>
  /** What `isthmus endpoints` would be told of it. */
  asked(path: string): Promise<unknown>
  log(): string
}

export const relayPort = 15012

/** `address`: one of 127.0.0.0/8 that nobody else has. */
export function relayReplica(parts: {
  readonly cluster: KubeCluster
  readonly name: string
  readonly address: string
  readonly kubeconfig: string
  readonly joinFile: string
  readonly settings?: Readonly<Record<string, unknown>>
}): Replica {
  const { cluster, name, address } = parts
  const dir = join(cluster.dir, name)
  const log = join(cluster.dir, 'logs', `${name}.log`)
  mkdirSync(dir, { recursive: true })
  writeFileSync(
    join(dir, 'isthmus.yaml'),
    stringify({
      ...{ cluster: cluster.name, region: 'eu-central-1', network: `net-${cluster.name}` },
      relay: { address, statusAddress: address },
      kubernetes: { kubeconfig: parts.kubeconfig },
      ...parts.settings,
    }),
  )
  let program: Program | undefined
  const asked = (path: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const request = get({ host: address, port: 15014, path, timeout: 3000 }, (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (piece) => {
          text += piece
        })
        answer.on('end', () => (text.startsWith('{') ? resolve(JSON.parse(text)) : reject(new Error(text))))
      })
      request.on('timeout', () => request.destroy(new Error('no answer'))).on('error', reject)
    })
  return {
    ...{ name, address, asked },
    start: () => {
      program = startProgram({
        ...{ name, log, env: { POD_NAME: name, POD_IP: address } },
        command: [process.execPath, join(root, 'gateway/main.ts'), '--dir', dir, '--join-file', parts.joinFile],
      })
    },
    kill: async () => program?.kill(),
    stop: async () => program?.stop(5000),
    status: () => asked('/status') as Promise<ReplicaStatus>,
    log: () => tailOf(log, 40),
  }
}

/** Waits for what the status of a replica says; throws with its log where it does not come. */
export async function untilStatus(
  replica: Replica,
  what: string,
  holds: (status: ReplicaStatus) => boolean,
  ms = 30_000,
): Promise<ReplicaStatus> {
  try {
    return await eventually(ms, `${replica.name}: ${what}`, async () => {
      const status = await replica.status()
      return holds(status) && status
    })
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${replica.log()}`, { cause: error })
  }
}
