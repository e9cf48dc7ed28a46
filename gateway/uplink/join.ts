import { connect, type DetailedPeerCertificate } from 'node:tls'
import { centreClient, unreachable } from '#gateway/uplink/centre-client.ts'
import { loadOrMakeRelayKey, type Membership, saveMembership } from '#gateway/uplink/membership.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { joinAnswerSchema } from '#mesh/wire/join.ts'
import { type JoinToken, parseJoinToken } from '#mesh/wire/join-token.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

export type JoinSettings = {
  readonly token: string
  /** State directory of the relay. */
  readonly dir: string
  /** The cluster's name in the relay's settings. */
  readonly cluster: string
  readonly network: string
  readonly region: string
  readonly version: string
}

/**
 * Redeems a join token: finds the centre's CA by the digest in the token, makes and stores the relay's key, then spends
 * the token over a connection that this CA vouches for. Running it again with the same key within the token's hour gives
 * the same answer. Throws `invalid` (the token itself), `unavailable` (the centre, or the own disk), `conflict` or
 * `forbidden` (another CA; spent, expired, another cluster's): each names what to do.
 */
export async function joinCentre(settings: JoinSettings): Promise<Membership> {
  const token = parseJoinToken(settings.token)
  if (token.cluster !== settings.cluster)
    throw new Problem(
      'invalid',
      `the join token was made for cluster "${token.cluster}", but this relay's settings name "${settings.cluster}": ` +
        `make one with: isthmus token create ${settings.cluster}`,
    )
  const ca = token.caSha256 === undefined ? undefined : await fetchCa(token, token.caSha256)
  const key = loadOrMakeRelayKey(settings.dir)
  const client = centreClient({ url: token.url, version: settings.version, ...(ca ? { ca: () => ca } : {}) })
  try {
    const answer = await client.call({
      path: '/v1/join',
      schema: joinAnswerSchema,
      body: {
        proto: meshSyncText,
        token: token.token,
        cluster: settings.cluster,
        key: key.jwk,
        network: settings.network,
        region: settings.region,
        relayVersion: settings.version,
      },
    })
    const trusted = ca === undefined ? { publiclyTrusted: true as const } : {}
    const membership = { ...answer, url: token.url, keyId: key.thumbprint, ...trusted }
    saveMembership(settings.dir, membership)
    return membership
  } catch (error) {
    throw ca === undefined && error instanceof Problem && error.extra['otherCa'] === true
      ? notPublic(token, error)
      : error
  } finally {
    client.close()
  }
}

/**
 * The PEM of the CA whose DER has that SHA-256, taken from the chain that the centre shows. Nothing secret is sent over
 * this first connection: it is closed as soon as the chain was seen.
 */
function fetchCa(token: JoinToken, sha256: string): Promise<string> {
  const url = new URL(token.url)
  return new Promise((resolve, reject) => {
    const socket = connect(
      {
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: Number(url.port || 443),
        rejectUnauthorized: false,
        ...(/^[0-9.]+$|:/.test(url.hostname) ? {} : { servername: url.hostname }),
      },
      () => {
        const found = chainOf(socket.getPeerCertificate(true)).find((der) => sha256Hex(der) === sha256)
        socket.destroy()
        if (found) resolve(pemOf(found))
        else
          reject(
            new Problem(
              'conflict',
              `the centre at ${url.origin} shows a certificate of another CA than the one the join token names: ` +
                'somebody else answers there, or the centre was set up anew. Nothing was told to it. If the address is right, ' +
                `make a new token with: isthmus token create ${token.cluster}`,
            ),
          )
      },
    )
    socket.setTimeout(10_000, () =>
      socket.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })),
    )
    socket.on('error', (cause) => reject(unreachable(url, cause)))
  })
}

/** A token without a digest is made by a centre that shows a certificate of its user's, which everybody is to trust. */
const notPublic = ({ url, cluster }: JoinToken, cause: Problem): Problem =>
  new Problem(
    'unavailable',
    `the centre at ${new URL(url).origin} shows a certificate of a CA that this machine does not know, and the join token ` +
      'names none: give that CA to the relay (NODE_EXTRA_CA_CERTS=<PEM file>), or put it at the end of the file of ' +
      `isthmus serve --tls-cert and make a new token with: isthmus token create ${cluster}`,
    { cause },
  )

function chainOf(first: DetailedPeerCertificate): Uint8Array[] {
  const chain: Uint8Array[] = []
  for (let next: DetailedPeerCertificate | undefined = first; next?.raw && chain.length < 8; ) {
    chain.push(next.raw)
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}

const pemOf = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/(.{64})/g, '$1\n')
    .trimEnd()}\n-----END CERTIFICATE-----\n`
