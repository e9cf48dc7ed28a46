import { refusal } from '#cli/failure.ts'
import type { Problem, ProblemKind } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** A call of AWS as a person who may allow it must be told: `eks:DescribeCluster`, on `cluster prod` of a region. */
export type AwsCall = {
  readonly action: string
  readonly region: string
  /** What was asked about; absent: the region as a whole. */
  readonly on?: string
  readonly profile?: string | undefined
}

type Row = {
  readonly names: readonly string[]
  readonly kind: ProblemKind
  readonly why: (call: AwsCall, said: Said) => string
  readonly mend: (call: AwsCall) => string
}
type Said = { readonly attempts: number; readonly text: string }

const login = ({ profile }: AwsCall): string =>
  profile === undefined
    ? 'log in (aws sso login), or name a profile that has credentials: --profile <name>'
    : `aws sso login --profile ${shellWord(profile)}, or name another one: --profile <name>`

/** By the names of the SDK's and of AWS's errors; first match. What is not here may pass by itself. */
const rows: readonly Row[] = [
  {
    names: ['AccessDeniedException', 'AccessDenied', 'UnauthorizedOperation', 'UnauthorizedException'],
    kind: 'forbidden',
    why: ({ action, region }, { text }) => `AWS does not let you call ${action} in ${region}${text && ` (${text})`}`,
    mend: ({ action, on }) =>
      `have ${action} allowed${on === undefined ? '' : ` on ${on}`} for whom you call as (aws sts get-caller-identity)`,
  },
  {
    names: ['CredentialsProviderError', 'TokenProviderError'],
    kind: 'unauthenticated',
    why: (_, { text }) => `there are no credentials of AWS${text && `: ${text}`}`,
    mend: login,
  },
  {
    names: [
      ...['ExpiredTokenException', 'ExpiredToken', 'RequestExpired', 'UnrecognizedClientException', 'AuthFailure'],
      ...['InvalidSignatureException', 'SignatureDoesNotMatch', 'InvalidClientTokenId', 'IncompleteSignature'],
      ...['MissingAuthenticationTokenException', 'TokenRefreshRequired'],
    ],
    kind: 'unauthenticated',
    why: ({ region }, { text }) =>
      `AWS does not take your credentials in ${region}: they have ended, the region is not enabled for your account, or ` +
      `this machine's clock is wrong${text && ` (${text})`}`,
    mend: login,
  },
  {
    names: [
      ...['ThrottlingException', 'Throttling', 'TooManyRequestsException', 'RequestLimitExceeded', 'SlowDown'],
      ...['RequestThrottled', 'RequestThrottledException', 'LimitExceededException'],
    ],
    kind: 'too-many',
    why: ({ action, region }, { attempts }) =>
      `AWS refused ${action} in ${region} ${attempts > 1 ? `${attempts} times` : 'once'}: too many calls of this account`,
    mend: () => 'repeat the command in a minute; ask for fewer regions at once',
  },
  {
    names: ['ResourceNotFoundException', 'InvalidVpcID.NotFound', 'NoSuchEntity'],
    kind: 'not-found',
    why: ({ on, region }) => `there is no ${on ?? 'such object'} in ${region}`,
    mend: ({ region }) => `aws eks list-clusters --region ${region}`,
  },
  {
    names: ['ENOTFOUND', 'EAI_AGAIN'],
    kind: 'unavailable',
    why: ({ region }) => `AWS has no address for the region ${region}: there is none of this name, or no DNS here`,
    mend: () => 'name a region such as --region eu-west-1; aws account list-regions lists them',
  },
  {
    names: ['TimeoutError', 'AbortError', 'ETIMEDOUT'],
    kind: 'unavailable',
    why: ({ action, region }) => `AWS did not answer ${action} in ${region} in time`,
    mend: () => 'repeat the command; where a proxy or VPC endpoint stands between, look at that',
  },
  {
    names: ['InvalidRequestException', 'InvalidParameterException', 'ResourceInUseException', 'ClientException'],
    kind: 'conflict',
    why: ({ action }, { text }) => `AWS refused ${action}${text && `: ${text}`}`,
    mend: ({ region }) => `aws eks describe-cluster --region ${region} --name <name> shows how the cluster stands`,
  },
]

const other: Omit<Row, 'names'> = {
  kind: 'unavailable',
  why: ({ action, region }, { text }) => `AWS could not be asked for ${action} in ${region}${text && `: ${text}`}`,
  mend: () => 'repeat the command',
}

/**
 * A failed call of AWS as what a person must hear: which action, where, and what to do. Source of the names: the error
 * references of EKS, EC2, STS and IAM, and the SDK's own.
 */
export function awsFault(cause: unknown, call: AwsCall): Problem {
  const { name = '', code = '', message = '', $metadata } = (cause ?? {}) as Thrown
  const row = rows.find(({ names }) => names.includes(name) || names.includes(code)) ?? other
  const said = { attempts: $metadata?.attempts ?? 1, text: shortened(message) }
  const on = `${call.on ?? 'AWS'}, region ${call.region}`
  return refusal({ kind: row.kind, why: row.why(call, said), on, mend: row.mend(call), cause })
}

type Thrown = {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly $metadata?: { readonly attempts?: number }
}

/** AWS's own words without their full stop; nothing of a signature or a token is worth a line of a terminal. */
const shortened = (text: string): string =>
  text
    .replace(/^UnknownError$/, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/(Signature|Token|Credential)=[^\s&,]+/gi, '$1=[redacted]')
    .slice(0, 300)
    .replace(/[.\s]+$/, '')
