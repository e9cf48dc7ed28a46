import { chmodSync, renameSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { makeDirectory } from '#gateway/make-directory.ts'
import { probeApp } from '#gateway/proxy/app-probes.ts'
import { callTimesOf } from '#gateway/proxy/call-times.ts'
import type { Identity } from '#gateway/proxy/check-certificate.ts'
import { connectionLog } from '#gateway/proxy/connection-log.ts'
import { type ControlPlane, followControlPlane, readControlPlane } from '#gateway/proxy/control-plane.ts'
import { beginDrain, drainEnvoy } from '#gateway/proxy/drain.ts'
import { adminAt, envoyFault } from '#gateway/proxy/envoy-admin.ts'
import { forcedRenewal } from '#gateway/proxy/forced.ts'
import { type Clock, keepCertificate } from '#gateway/proxy/keep-certificate.ts'
import { type Envoy, keepEnvoy } from '#gateway/proxy/keep-envoy.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { askRelay, keepLooking } from '#gateway/proxy/look.ts'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { requestCertificate } from '#gateway/proxy/request-certificate.ts'
import { serveSecrets } from '#gateway/proxy/serve-secrets.ts'
import { type ProxySettings, socketNames } from '#gateway/proxy/settings.ts'
import { serveStatus } from '#gateway/proxy/status.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'
import { buildBootstrap, controlPlaneName } from '#mesh/translate/bootstrap.ts'
import { buildIdentitySecret, buildTrustSecret } from '#mesh/translate/secret.ts'
import { backdateSeconds } from '#mesh/trust/profile.ts'

export type RunningProxy = {
  /** Drains and ends everything; a second call cuts the drain short. Resolves when Envoy is gone. */
  readonly stop: () => Promise<void>
}

/**
 * One Envoy's life: secrets are served, a certificate is asked for until there is one, then Envoy is started and kept.
 * The order is on purpose: Envoy's line to the relay needs the certificate, so nothing is gained by an earlier start.
 * A relay that is away delays the start or the renewal, and nothing else. `onQuit` is called for POST /quitquitquit.
 * Throws a Problem where a setting cannot work here (directory, socket, port, Envoy's binary, CA file).
 */
export async function runProxy(
  settings: ProxySettings,
  log: Log,
  clock: Clock,
  onQuit: () => void,
): Promise<RunningProxy> {
  await claimDirectory(settings.dir)
  const bootstrap = join(settings.dir, 'bootstrap.json')
  const socket = join(settings.dir, socketNames.secrets)
  const name = relayName(settings.relayUri, settings.cluster)
  const line = { ...settings, name }
  const uri = () => `spiffe://${name.trustDomain()}/ns/${settings.namespace}/sa/${settings.serviceAccount}`
  const admin = adminAt(settings.admin)
  const counts = { issued: 0, failed: 0 }
  const ending = new AbortController()
  const hurry = new AbortController()
  let held: Identity | undefined
  let controlPlane: ControlPlane | undefined
  let envoy: Envoy | undefined
  let stopped: Promise<void> | undefined
  let draining = false

  const fault = async (): Promise<string | undefined> => {
    if (stopped || draining) return 'draining'
    if (!held) return 'no certificate yet'
    if (held.notAfter <= clock.now()) return `the certificate has ended at ${held.notAfter.toISOString()}`
    if (!envoy?.running()) return 'Envoy is not running'
    return envoyFault(admin)
  }
  const samples = () => ({
    isthmus_proxy_certificate_expiry_timestamp_seconds: held ? held.notAfter.getTime() / 1000 : 0,
    'isthmus_proxy_certificate_requests_total{result="issued"}': counts.issued,
    'isthmus_proxy_certificate_requests_total{result="failed"}': counts.failed,
    isthmus_proxy_envoy_starts_total: envoy?.starts() ?? 0,
    isthmus_proxy_envoy_running: envoy?.running() ? 1 : 0,
    isthmus_proxy_resident_memory_bytes: process.memoryUsage.rss(),
  })
  const drain = async () => {
    draining = true
    log.info('the pod is going: callers are told to go elsewhere')
    await beginDrain(admin)
  }
  const probed = async (path: string) => {
    const probe = settings.probes.get(path)
    return probe && probeApp(probe, settings.instanceIps[0])
  }
  const status = await serveStatus(settings.status, { admin, fault, samples, quit: onQuit, drain, probed })
  const secrets = await serveSecrets(socket, log)

  /** The first certificate waits for the CA file, since Envoy would wait for the secret made of it. */
  const publish = (identity: Identity, authorities: ControlPlane) => {
    held = identity
    controlPlane = authorities
    secrets.publish(
      new Map([
        ['default', buildIdentitySecret('default', identity.chainPem, identity.keyPem)],
        ['ROOTCA', buildTrustSecret('ROOTCA', identity.rootsPem)],
        [controlPlaneName, buildTrustSecret(controlPlaneName, authorities.pem, [name.uri()])],
      ]),
    )
  }
  const use = (identity: Identity) => {
    publish(identity, controlPlane ?? readControlPlane(settings.caFile))
    if (envoy || stopped) return
    writeBootstrap(bootstrap, settings, socket)
    const pidFile = join(settings.dir, 'envoy.pid')
    const { envoy: binary, concurrency, envoyLogLevel: logLevel } = settings
    const { follow } = accessLog
    envoy = keepEnvoy({ binary, bootstrap, pidFile, concurrency, logLevel, follow }, log, clock)
  }
  const forced = forcedRenewal()
  const callTimes = callTimesOf(admin, () => clock.now().getTime())
  const accessLog = connectionLog(process.stdout, clock.now)
  const keeping = keepCertificate({
    uri,
    request: (csr) => requestCertificate(line, csr),
    use,
    forced,
    clock,
    log,
    signal: ending.signal,
    count: (result) => (counts[result] += 1),
  })

  const following = followControlPlane({
    file: settings.caFile,
    known: () => controlPlane,
    onChange: (authorities) => {
      if (held) publish(held, authorities)
    },
    ...{ clock, log, signal: ending.signal },
  })
  const looking = keepLooking({
    ask: (question) => askRelay(line, question),
    question: async () => {
      const read = await callTimes.read()
      return (
        held &&
        controlPlane && {
          ...{ serial: held.serial, controlPlaneDigest: controlPlane.digest, callTimes: read },
          refusals: accessLog.refusals(),
        }
      )
    },
    told: ({ refusals }) => {
      accessLog.told(refusals)
      callTimes.told()
    },
    heard: ({ renewBefore, spreadSeconds }, { serial }) => {
      if (held?.serial !== serial) return
      const isOld = held.notBefore.getTime() + backdateSeconds * 1000 < renewBefore || held.uri !== uri()
      const spreadMs = Math.min(spreadSeconds, 20) * 1000
      if (isOld) forced.renew(serial, new Date(clock.now().getTime() + clock.random() * spreadMs))
    },
    ...{ clock, log, signal: ending.signal },
  })

  const end = async () => {
    if (envoy) {
      const times = { secondsMin: settings.drainSecondsMin, secondsMax: settings.drainSecondsMax }
      await drainEnvoy(admin, times, { clock, log, hurry: hurry.signal })
      await envoy.stop()
    }
    ending.abort()
    secrets.close()
    status.close()
    status.closeAllConnections()
    await Promise.all([keeping, following, looking])
  }
  return {
    stop: () => {
      if (stopped) hurry.abort()
      stopped ??= end()
      return stopped
    },
  }
}

/** Makes the directory, closes it to others, and makes sure that no other proxy lives in it. */
async function claimDirectory(dir: string): Promise<void> {
  try {
    makeDirectory(dir)
    chmodSync(dir, 0o700)
  } catch (cause) {
    const text = `the working directory cannot be made this user’s alone: ${fileFault(cause)}`
    throw new Problem('unavailable', text, { cause, extra: { on: dir, mend: 'give another directory with --dir' } })
  }
  const taken = await new Promise<boolean>((done) => {
    const probe = connect(join(dir, socketNames.secrets))
    probe.on('connect', () => done(true)).on('error', () => done(false))
    probe.on('connect', () => probe.destroy())
  })
  if (taken)
    throw new Problem('conflict', 'another isthmus proxy runs in the working directory', {
      extra: { on: dir, mend: 'stop it, or give this one its own directory with --dir' },
    })
}

function writeBootstrap(file: string, settings: ProxySettings, secretsSocket: string): void {
  const relay = { ...settings.relay, uri: settings.relayUri }
  const json = buildBootstrap({ ...settings, relay, secretsSocket })
  writeFileSync(`${file}.new`, JSON.stringify(json, null, 1), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
