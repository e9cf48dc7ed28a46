import type { EKSClient } from '@aws-sdk/client-eks'
import { refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'
import { type AwsCall, awsFault } from '#cli/onboard/eks/aws-fault.ts'

/** One region of AWS, as somebody's own credentials see it. */
export type Aws = {
  readonly region: string
  readonly profile?: string | undefined
  readonly eks: EKSClient
  /** Where a service other than EKS answers; AWS's own place for it where undefined. */
  readonly endpointOf: (service: string) => string | undefined
  /** Calls to one service, before a failure is told. */
  readonly attemptsMax: number
  readonly answerMs: number
}

export type AwsAccess = {
  readonly region: string
  readonly profile?: string | undefined
  readonly env: Environment
  /** Of which each may take `answerMs`. */
  readonly attemptsMax?: number
  readonly answerMs?: number
}

const regionForm = /^[a-z]{2}(-[a-z]+)+-[0-9]$/

/**
 * A region with bounds: five attempts of ten seconds each. Credentials from where AWS's tools look for them, endpoints too
 * (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>). Throws `invalid` for what cannot be the name of a region: it becomes
 * part of a host name. The SDK is loaded only here, since it costs a start 200 ms.
 */
export async function openAws(access: AwsAccess): Promise<Aws> {
  const { region, profile, env, attemptsMax = 5, answerMs = 10_000 } = access
  if (!regionForm.test(region))
    throw refusal({
      ...{ kind: 'invalid', why: `"${region.slice(0, 60)}" is no name of a region`, on: '--region' },
      mend: 'name one such as --region eu-west-1',
    })
  const { EKSClient } = await import('@aws-sdk/client-eks')
  const endpointOf = (service: string): string | undefined =>
    env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] || env['AWS_ENDPOINT_URL'] || undefined
  const endpoint = endpointOf('eks')
  const eks = new EKSClient({
    region,
    maxAttempts: attemptsMax,
    // `requestTimeout` alone only writes a warning when it has passed.
    requestHandler: { connectionTimeout: answerMs, requestTimeout: answerMs, throwOnRequestTimeout: true },
    ...(profile === undefined ? {} : { profile }),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  return { region, profile, eks, endpointOf, attemptsMax, answerMs }
}

/** One call of AWS to its end; what fails is told as `awsFault` says. */
export async function called<T>(
  { region, profile }: Aws,
  said: Pick<AwsCall, 'action' | 'on'>,
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    throw awsFault(cause, { ...said, region, profile })
  }
}

/** What ends the host names of AWS in a region. */
export const hostEnd = (region: string): string => (region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com')
