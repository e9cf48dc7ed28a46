import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { envoyPath } from '#tests/support/parts.ts'

export type RunningEnvoy = {
  /** A page of the admin interface. */
  readonly admin: (path: string) => Promise<string>
  /** One counter or gauge; 0 while it does not exist. */
  readonly stat: (name: string) => Promise<number>
  readonly log: () => Promise<string>
  readonly stop: () => Promise<void>
}

export type EnvoyDial = {
  readonly port: number
  readonly apiType: 'DELTA_GRPC' | 'GRPC'
  readonly relayRoots: string
  readonly chainPem: string
  readonly keyPem: string
  readonly node: object
}

/** A stock Envoy that takes all it knows from the relay on 127.0.0.1:`port`, over mTLS. Resolves once its admin page answers. */
export async function startAdsEnvoy(dial: EnvoyDial): Promise<RunningEnvoy> {
  const dir = await mkdtemp(join(tmpdir(), 'ads-envoy-'))
  const addressFile = join(dir, 'admin')
  await writeFile(join(dir, 'envoy.json'), JSON.stringify(bootstrap(dial)))
  const binary = await envoyPath()
  const args = ['-c', join(dir, 'envoy.json'), '--admin-address-path', addressFile, '--use-dynamic-base-id']
  const child = spawn(binary, [...args, '--concurrency', '1', '--log-path', join(dir, 'log'), '-l', 'info'], {
    stdio: 'ignore',
  })
  const log = () => readFile(join(dir, 'log'), 'utf8').catch(() => '')
  const stop = async () => {
    await ended(child)
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const address = await adminAddress(addressFile, child)
    const admin = async (path: string) => (await fetch(`http://${address}${path}`)).text()
    const stat = async (name: string) => Number(/: (\d+)/.exec(await admin(`/stats?filter=^${name}$`))?.[1] ?? 0)
    return { admin, stat, log, stop }
  } catch (cause) {
    const said = await log()
    await stop()
    throw new Error(`Envoy did not start: ${said.slice(-2000)}`, { cause })
  }
}

async function adminAddress(file: string, child: ChildProcess): Promise<string> {
  for (const end = Date.now() + 20_000; Date.now() < end; await delay(20)) {
    if (child.exitCode !== null) throw new Error(`exit code ${child.exitCode}`)
    const address = await readFile(file, 'utf8').catch(() => '')
    if (address !== '') return address.trim()
  }
  throw new Error('no admin address within 20 s')
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

const fromAds = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' }

const bootstrap = ({ port, apiType, relayRoots, chainPem, keyPem, node }: EnvoyDial) => ({
  node,
  admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
  dynamic_resources: {
    ads_config: {
      api_type: apiType,
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
    },
    cds_config: fromAds,
    lds_config: fromAds,
  },
  static_resources: {
    clusters: [
      {
        name: 'xds-grpc',
        type: 'STATIC',
        connect_timeout: '3s',
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
        load_assignment: {
          cluster_name: 'xds-grpc',
          endpoints: [
            {
              lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }],
            },
          ],
        },
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
            common_tls_context: {
              alpn_protocols: ['h2'],
              tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
              tls_certificates: [
                { certificate_chain: { inline_string: chainPem }, private_key: { inline_string: keyPem } },
              ],
              validation_context: { trusted_ca: { inline_string: relayRoots } },
            },
          },
        },
      },
    ],
  },
})
