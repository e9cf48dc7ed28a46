import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Measures } from '#control/centre.ts'

/** The centre's metrics, and what the flows and doors tell them. */
export type Metrics = ReturnType<typeof openMetrics>

/** So long a change may take to the last proxy of each cluster. */
export const propagationObjectiveSeconds = 5

export function openMetrics() {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const requests = new Counter({
    name: 'isthmus_centre_requests_total',
    help: 'Requests by route, method and status',
    labelNames: ['route', 'method', 'status'],
    registers,
  })
  const requestSeconds = new Histogram({
    name: 'isthmus_centre_request_seconds',
    help: 'Time to answer, by route',
    labelNames: ['route'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  })
  const publishedSeconds = new Histogram({
    name: 'isthmus_centre_change_to_published_seconds',
    help: 'From the change that asks for it until every config is compiled and stored',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60],
    registers,
  })
  const signerSeconds = new Histogram({
    name: 'isthmus_centre_signer_seconds',
    help: 'Time of one signature by the key of an authority, by where the key lies',
    labelNames: ['key'],
    buckets: [0.0005, 0.002, 0.01, 0.05, 0.25, 1, 3, 10],
    registers,
  })
  const signerFaults = new Counter({
    name: 'isthmus_centre_signer_faults_total',
    help: 'Keys of authorities that did not open or sign, by where the key lies and why',
    labelNames: ['key', 'kind'],
    registers,
  })
  const counter = (name: string, help: string) => new Counter({ name: `isthmus_centre_${name}`, help, registers })
  const gauge = <T extends string>(name: string, help: string, labelNames: T[] = []) =>
    new Gauge({ name: `isthmus_centre_${name}`, help, labelNames, registers })
  const measured = {
    registry,
    requests,
    requestSeconds,
    compiledConfigs: counter('configs_compiled_total', 'Configs compiled, changed or not'),
    syncs: new Counter({
      name: 'isthmus_centre_syncs_total',
      help: 'Reports taken in, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    syncItems: counter('sync_items_total', 'Items in reports'),
    loads: new Counter({
      name: 'isthmus_centre_load_reports_total',
      help: 'Load reports of relays, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    propagation: new Histogram({
      name: 'isthmus_centre_propagation_seconds',
      help: 'From the writing of a config until the last proxy of its cluster had acknowledged it',
      labelNames: ['cluster'],
      buckets: [0.1, 0.25, 0.5, 1, 2.5, propagationObjectiveSeconds, 10, 30, 120],
      registers,
    }),
    unacknowledged: gauge(
      'config_unacknowledged_seconds',
      'How long a cluster has a config that not all proxies have',
      ['cluster'],
    ),
    loadRowsRefused: counter('load_rows_refused_total', 'Rows of load reports that cannot be true'),
    pulls: new Counter({
      name: 'isthmus_centre_pulls_total',
      help: 'Pulls answered, by whether there was anything to deliver',
      labelNames: ['outcome'],
      registers,
    }),
    hints: counter('hints_sent_total', 'Hint frames sent'),
    hintsDropped: counter('hints_dropped_total', 'Hint frames not sent because the reader was slow; it pulls later'),
    watchers: gauge('watch_connections', 'Open hint connections'),
    waiting: gauge('long_polls', 'Pulls that are held open'),
    clusters: gauge('clusters', 'Clusters by state', ['state']),
    silence: gauge('cluster_silent_seconds', 'Since the last report of a member was taken in; to a minute', [
      'cluster',
    ]),
    streams: gauge('streams', 'Streams by kind', ['kind']),
    outbox: gauge('outbox_rows', 'Changes that wait to be published (500 = or more)'),
    bundleSeq: gauge('bundle_seq', 'Number of the trust bundle in force'),
    bundleUnacknowledged: gauge('bundle_unacknowledged_clusters', 'Members not all of whose proxies hold that bundle'),
    rotationStep: gauge('rotation_step', '1 for the step that a running rotation is in', ['kind', 'step']),
    authorityEnd: gauge('authority_not_after_seconds', 'When an authority ends, Unix time', [
      'kind',
      'number',
      'state',
    ]),
    issuances: gauge('issuances_total', 'Entries in the log of everything that was signed'),
    certificateEnd: gauge('certificate_not_after_seconds', 'When a certificate ends, Unix time', ['kind']),
  }
  gauge('propagation_objective_seconds', 'What propagation is meant to take at most').set(propagationObjectiveSeconds)
  const measures: Measures = {
    published: (ms) => publishedSeconds.observe(Math.max(0, ms) / 1000),
    compiled: (clusters) => measured.compiledConfigs.inc(clusters),
    signed: (key, ms) => signerSeconds.observe({ key }, ms / 1000),
    signerFault: (key, kind) => signerFaults.inc({ key, kind }),
  }
  return { ...measured, measures }
}
