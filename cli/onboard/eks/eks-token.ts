import type { Aws } from '#cli/onboard/eks/open-aws.ts'
import { called, hostEnd } from '#cli/onboard/eks/open-aws.ts'

/** A secret: who has it is this caller, at this one cluster, for a quarter of an hour. */
export type EksToken = { readonly token: string; readonly signedAt: number }

/** The API server takes it for 15 minutes. */
const renewMs = 10 * 60_000

/**
 * A bearer token for the API server of an EKS cluster: a request to STS, who is this, signed but not sent, with the
 * cluster's name among what is signed. The server sends it. Source: aws-iam-authenticator, "API Authorization from
 * Outside a Cluster"; `aws eks get-token` makes the same.
 */
export async function eksToken(aws: Aws, cluster: string, now: number): Promise<EksToken> {
  const { SignatureV4 } = await import('@smithy/signature-v4')
  const { credentials, sha256 } = aws.eks.config
  const host = `sts.${aws.region}.${hostEnd(aws.region)}`
  const signer = new SignatureV4({ service: 'sts', region: aws.region, credentials, sha256, applyChecksum: false })
  const asked = {
    ...{ method: 'GET', protocol: 'https:', hostname: host, path: '/' },
    headers: { host, 'x-k8s-aws-id': cluster },
    query: { Action: 'GetCallerIdentity', Version: '2011-06-15' },
  }
  const id = new Set(['x-k8s-aws-id'])
  const { query = {} } = await called(aws, { action: 'sts:GetCallerIdentity' }, () =>
    signer.presign(asked, {
      ...{ expiresIn: 60, signingDate: new Date(now), unhoistableHeaders: id },
      signableHeaders: new Set(['host', ...id]),
    }),
  )
  const words = Object.entries(query)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`)
  return {
    token: `k8s-aws-v1.${Buffer.from(`https://${host}/?${words.join('&')}`).toString('base64url')}`,
    signedAt: now,
  }
}

/** Gives a token that is good for five minutes more at least, made anew where it must be; a failure is not kept. */
export function keptEksToken(make: () => Promise<EksToken>, now: () => number): () => Promise<string> {
  let kept: Promise<EksToken> | undefined
  return async () => {
    const before = await kept?.catch(() => undefined)
    if (before && Math.abs(now() - before.signedAt) < renewMs) return before.token
    kept = make()
    return (await kept).token
  }
}
