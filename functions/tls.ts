import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:https'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Centre } from '#control/centre.ts'
import { issueServing } from '#control/serving-certificate.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { dueAt } from '#mesh/trust/due.ts'
import { trustStream } from '#mesh/wire/stream.ts'

/** What the centre's door shows, and what a relay has to be told to trust it. */
export type ServerTls = {
  readonly caSha256: () => string | undefined
  /** The control-plane CA (SHA-256 of its DER) that vouches for the door; absent where the user's own certificate does. */
  readonly authority: () => string | undefined
  /** PEM of a CA that the user's certificate chain ends in. */
  readonly ownCa?: string | undefined
  readonly notAfter: () => Date
  stop(): void
}

const lookMs = 60_000
/** How soon another control-plane CA is noticed that another process of this centre has put to use. */
const lookAuthorityMs = 5000
const lookUserFilesMs = 10_000

/**
 * Gives the server a certificate of the control-plane CA for `hosts`, and a new one at half of its life. A renewal that
 * fails is tried again each minute while the old one still serves.
 */
export async function serveOwnTls(server: Server, centre: Centre, hosts: readonly string[]): Promise<ServerTls> {
  let current = await renew()
  let looking = false
  let failedAt = Number.NEGATIVE_INFINITY
  const look = async (): Promise<void> => {
    // Each try is a signature: one that failed is not tried again before the next minute.
    if (looking || performance.now() - failedAt < lookMs) return
    looking = true
    try {
      const due = new Date(centre.now()) >= dueAt(current.notBefore, current.notAfter, 0.5)
      const active = sha256Hex((await centre.keys.active('control-plane')).certificate.der)
      if (!due && active === current.authority) return
      current = await renew()
      centre.log.info({ notAfter: current.notAfter }, "the centre's certificate was renewed")
    } catch (err) {
      failedAt = performance.now()
      centre.log.error({ err }, "the centre's certificate could not be renewed; tried again")
    } finally {
      looking = false
    }
  }
  const timer = setInterval(() => void look(), lookAuthorityMs)
  timer.unref()
  const unlisten = centre.bus.listen((note) => {
    if (note.kind === 'streams' && note.changes.some(({ stream }) => stream === trustStream(centre.mesh))) void look()
  })
  return {
    caSha256: () => current.authority,
    authority: () => current.authority,
    notAfter: () => current.notAfter,
    stop: () => {
      clearInterval(timer)
      unlisten()
    },
  }

  async function renew() {
    const made = await issueServing(centre, hosts)
    server.setSecureContext({ ...tlsOptions, cert: made.chain, key: made.key })
    return made
  }
}

export const tlsOptions = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', honorCipherOrder: true } as const

/**
 * Gives the server the user's own certificate, and follows the files when they are renewed. Throws `invalid` where they
 * cannot be used, or do not name the host of the centre's URL.
 */
export function serveUserTls(
  server: Server,
  centre: Centre,
  files: { readonly cert: string; readonly key: string },
): ServerTls {
  let seen = ''
  let chain = load()
  const timer = setInterval(() => {
    try {
      chain = load()
    } catch (err) {
      centre.log.error({ err }, 'the renewed TLS files cannot be used; the certificate before them still serves')
    }
  }, lookUserFilesMs)
  timer.unref()
  const root = chain.at(-1)
  return {
    caSha256: () => (root?.checkIssued(root) ? sha256Hex(root.raw) : undefined),
    authority: () => undefined,
    ...(root?.checkIssued(root) ? { ownCa: root.toString() } : {}),
    notAfter: () => new Date(chain[0]?.validTo ?? 0),
    stop: () => clearInterval(timer),
  }

  function load(): X509Certificate[] {
    const [cert, key] = [readPem(files.cert), readPem(files.key)]
    if (cert + key === seen) return chain
    const certificates = certificatesIn(cert, files.cert)
    const host = new URL(centre.url).hostname.replace(/^\[|\]$/g, '')
    const leaf = certificates[0]
    const named = isIP(host) === 0 ? leaf?.checkHost(host) : leaf?.checkIP(host)
    if (named === undefined)
      throw new Problem('invalid', `${files.cert} is not for "${host}", the host of --url ${centre.url}`)
    try {
      createSecureContext({ cert, key })
    } catch (cause) {
      throw new Problem('invalid', `${files.key} is not the private key of ${files.cert}, or cannot be read`, { cause })
    }
    server.setSecureContext({ ...tlsOptions, cert, key })
    seen = cert + key
    return certificates
  }
}

function certificatesIn(pem: string, path: string): X509Certificate[] {
  try {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
    if (blocks.length === 0) throw new Error('no certificate')
    return blocks.map((block) => new X509Certificate(block))
  } catch (cause) {
    throw new Problem('invalid', `${path} holds no PEM certificate chain`, { cause })
  }
}

/** The text of a PEM file. Throws `invalid` that names it. */
export function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Problem('invalid', `the TLS file ${path} cannot be read`, { cause })
  }
}
