import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const openssl = promisify(execFile)

/** Paths of a certificate and its key, PEM. */
export type Credential = { readonly cert: string; readonly key: string }

/** What an API server stands on: its certificate authority, its own certificate, and the key of service account tokens. */
export type Credentials = {
  readonly ca: Credential
  readonly server: Credential
  readonly tokens: { readonly publicKey: string; readonly privateKey: string }
  /** A kubeconfig for a user by certificate, in these groups. */
  kubeconfigOf(user: string, groups: readonly string[]): Promise<string>
  /** The same by a bearer token. */
  kubeconfigWith(user: string, token: string): string
}

export async function makeCredentials(dir: string, server: string, addresses: readonly string[]): Promise<Credentials> {
  const ca = await certificate(dir, 'ca', '/CN=kubernetes', {
    basicConstraints: 'critical,CA:TRUE',
    keyUsage: 'critical,keyCertSign,cRLSign',
  })
  const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local']
  const subjectAltName = [...names.map((name) => `DNS:${name}`), ...addresses.map((ip) => `IP:${ip}`)].join(',')
  const own = await certificate(dir, 'server', '/CN=kube-apiserver', { ...leaf, subjectAltName }, ca)
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const tokens = { publicKey: join(dir, 'tokens.pub'), privateKey: join(dir, 'tokens.key') }
  writeFileSync(tokens.publicKey, publicKey.export({ type: 'spki', format: 'pem' }))
  writeFileSync(tokens.privateKey, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const kubeconfig = (user: string, identity: object): string => {
    const path = join(dir, `${user.replaceAll(/[^\w.-]/g, '-')}.kubeconfig`)
    const data = readFileSync(ca.cert).toString('base64')
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'cluster' },
      clusters: [{ name: 'cluster', cluster: { server, 'certificate-authority-data': data } }],
      users: [{ name: user, user: identity }],
      contexts: [{ name: 'cluster', context: { cluster: 'cluster', user } }],
    }
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 })
    return path
  }
  return {
    ...{ ca, server: own, tokens },
    kubeconfigOf: async (user, groups) => {
      const subject = [...groups.map((group) => `/O=${group}`), `/CN=${user}`].join('')
      const { cert, key } = await certificate(dir, user, subject, leaf, ca)
      return kubeconfig(user, {
        'client-certificate-data': readFileSync(cert).toString('base64'),
        'client-key-data': readFileSync(key).toString('base64'),
      })
    },
    kubeconfigWith: (user, token) => kubeconfig(user, { token }),
  }
}

const leaf = {
  basicConstraints: 'critical,CA:FALSE',
  keyUsage: 'critical,digitalSignature',
  extendedKeyUsage: 'serverAuth,clientAuth',
}

/** Signed by `by`, or by itself. */
async function certificate(
  dir: string,
  name: string,
  subject: string,
  extensions: Readonly<Record<string, string>>,
  by?: Credential,
): Promise<Credential> {
  const file = name.replaceAll(/[^\w.-]/g, '-')
  const [cert, key] = [join(dir, `${file}.crt`), join(dir, `${file}.key`)]
  const added = Object.entries(extensions).flatMap(([extension, value]) => ['-addext', `${extension}=${value}`])
  // Without a configuration of its own OpenSSL adds extensions from the machine's.
  const config = join(dir, 'openssl.cnf')
  writeFileSync(config, '[req]\ndistinguished_name=dn\n[dn]\n')
  await openssl('openssl', [
    ...['req', '-x509', '-config', config, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '30', '-subj', subject, ...added],
    ...(by ? ['-CA', by.cert, '-CAkey', by.key] : []),
  ])
  return { cert, key }
}
