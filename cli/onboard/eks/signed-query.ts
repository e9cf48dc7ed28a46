import { setTimeout as pause } from 'node:timers/promises'
import { type Aws, called, hostEnd } from '#cli/onboard/eks/open-aws.ts'

/** A call of one of AWS's services that speak its older protocol: EC2, IAM and STS. */
export type QueryCall = {
  readonly service: 'ec2' | 'iam' | 'sts'
  readonly action: string
  readonly params?: Readonly<Record<string, string>>
  /** What it is about, for a failure. */
  readonly on?: string
}

const versions = { ec2: '2016-11-15', iam: '2010-05-08', sts: '2011-06-15' } as const
const answerBytesMax = 4 * 1024 * 1024

/**
 * The XML that AWS answers to one call of its Query protocol. Three calls of three services are all that is needed here:
 * signed requests, rather than three more SDKs of tens of megabytes. Tries again as an SDK does (5xx, throttling, lost
 * connections). Throws as `awsFault` says.
 */
export function askQuery(aws: Aws, call: QueryCall): Promise<string> {
  const said = { action: `${call.service}:${call.action}`, ...(call.on === undefined ? {} : { on: call.on }) }
  return called(aws, said, async () => {
    for (let attempts = 1; ; attempts++) {
      const failure = await once(aws, call).catch((cause: unknown) => failureOf(cause))
      if (typeof failure === 'string') return failure
      if (!failure.mayPass || attempts >= aws.attemptsMax) throw Object.assign(failure, { $metadata: { attempts } })
      await pause(Math.random() * 100 * 2 ** attempts)
    }
  })
}

type Failure = Error & { readonly code?: string; readonly mayPass: boolean }

async function once(aws: Aws, call: QueryCall): Promise<string> {
  const { host, region } = placeOf(aws.region, call.service)
  const at = new URL(aws.endpointOf(call.service) ?? `https://${host}`)
  const body = new URLSearchParams({
    ...{ Action: call.action, Version: versions[call.service] },
    ...call.params,
  }).toString()
  const { SignatureV4 } = await import('@smithy/signature-v4')
  const { credentials, sha256 } = aws.eks.config
  const signer = new SignatureV4({ service: call.service, region, credentials, sha256 })
  const { headers } = await signer.sign({
    ...{ method: 'POST', protocol: at.protocol, hostname: at.hostname, path: '/', body },
    headers: { host: at.host, 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
  })
  const { host: _, ...sent } = headers
  const signal = AbortSignal.timeout(aws.answerMs)
  const answer = await fetch(new URL('/', at), { method: 'POST', headers: sent, body, signal, redirect: 'error' })
  const text = (await answer.text()).slice(0, answerBytesMax)
  if (answer.ok) return text
  const [name = `HTTP ${answer.status}`] = textsIn(text, 'Code')
  const mayPass = answer.status >= 500 || answer.status === 429 || /throttl|limitexceeded|slowdown/i.test(name)
  throw Object.assign(new Error(textsIn(text, 'Message')[0] ?? ''), { name, mayPass })
}

/** IAM is one for all regions of a partition, and signed for the region where it stands. */
function placeOf(region: string, service: QueryCall['service']): { readonly host: string; readonly region: string } {
  if (service !== 'iam') return { host: `${service}.${region}.${hostEnd(region)}`, region }
  if (region.startsWith('cn-')) return { host: 'iam.cn-north-1.amazonaws.com.cn', region: 'cn-north-1' }
  if (region.startsWith('us-gov-')) return { host: 'iam.us-gov.amazonaws.com', region: 'us-gov-west-1' }
  return { host: 'iam.amazonaws.com', region: 'us-east-1' }
}

/** fetch wraps what the socket said. */
function failureOf(thrown: unknown): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  if ('mayPass' in error) return error as Failure
  const cause = (error.cause ?? error) as NodeJS.ErrnoException
  const isLost = error instanceof TypeError || error.name === 'TimeoutError'
  return Object.assign(new Error(cause.message), {
    ...{ name: error.name, mayPass: isLost && cause.code !== 'ENOTFOUND' },
    ...(cause.code === undefined ? {} : { code: cause.code }),
  })
}

/** The text of each element of this name, in order; AWS's answers of these calls need no more of XML than that. */
export const textsIn = (xml: string, element: string): string[] =>
  [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, text = '']) =>
    text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&'),
  )
