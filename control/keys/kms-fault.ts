import { Problem, type ProblemKind } from '#mesh/model/problem.ts'

type Row = {
  readonly names: readonly string[]
  readonly reason: string
  readonly kind: ProblemKind
  readonly retryAfterSeconds?: number
  readonly says: (call: { readonly arn: string; readonly action: string }) => string
}

/** What KMS and its client may answer, by the names of their errors; first match. What is not here may pass by itself. */
const rows: readonly Row[] = [
  {
    names: ['AccessDeniedException', 'AccessDenied'],
    reason: 'denied',
    kind: 'conflict',
    says: ({ arn, action }) =>
      `the centre may not call ${action} on the KMS key ${arn}: allow its role kms:Sign and kms:GetPublicKey in the key's policy`,
  },
  {
    names: ['NotFoundException'],
    reason: 'not-found',
    kind: 'not-found',
    says: ({ arn }) => `there is no KMS key ${arn}: look at region, account and id`,
  },
  {
    names: ['DisabledException', 'KMSInvalidStateException'],
    reason: 'disabled',
    kind: 'conflict',
    says: ({ arn }) =>
      `the KMS key ${arn} is disabled or about to be deleted: enable it (aws kms enable-key), or stop its deletion ` +
      '(aws kms cancel-key-deletion)',
  },
  {
    names: ['InvalidKeyUsageException', 'UnsupportedOperationException', 'ValidationException'],
    reason: 'unfit',
    kind: 'conflict',
    says: ({ arn }) =>
      `the KMS key ${arn} cannot sign certificates: it must be of spec ECC_NIST_P256 or ECC_NIST_P384, for SIGN_VERIFY`,
  },
  {
    names: [
      ...['CredentialsProviderError', 'ExpiredTokenException', 'ExpiredToken', 'UnrecognizedClientException'],
      ...[
        'InvalidSignatureException',
        'IncompleteSignature',
        'MissingAuthenticationTokenException',
        'TokenRefreshRequired',
      ],
    ],
    reason: 'credentials',
    kind: 'unavailable',
    retryAfterSeconds: 30,
    says: ({ arn }) =>
      `AWS does not know the centre's credentials, so the KMS key ${arn} cannot be used: give it a role, or look at the ` +
      'one it has and at the clock',
  },
  {
    names: [
      'ThrottlingException',
      'Throttling',
      'TooManyRequestsException',
      'RequestLimitExceeded',
      'LimitExceededException',
    ],
    reason: 'throttled',
    kind: 'unavailable',
    retryAfterSeconds: 10,
    says: ({ arn }) => `KMS refuses calls on the key ${arn} for now, there were too many: it is tried again later`,
  },
  {
    names: ['TimeoutError', 'AbortError'],
    reason: 'timeout',
    kind: 'unavailable',
    retryAfterSeconds: 10,
    says: ({ arn, action }) => `KMS did not answer ${action} on the key ${arn} in time: it is tried again later`,
  },
]

const other: Omit<Row, 'names'> = {
  reason: 'unreachable',
  kind: 'unavailable',
  retryAfterSeconds: 10,
  says: ({ arn, action }) => `KMS could not be asked for ${action} on the key ${arn}: it is tried again later`,
}

/**
 * A failed call of KMS as a Problem: `conflict` or `not-found` where somebody must mend something, `unavailable` with
 * `retryAfterSeconds` where time may. `extra.reason` is one of denied, not-found, disabled, unfit, credentials,
 * throttled, timeout, unreachable. What AWS said stays in `cause`.
 */
export function faultOf(cause: unknown, call: { readonly arn: string; readonly action: string }): Problem {
  const name = cause instanceof Error ? cause.name : ''
  const row = rows.find(({ names }) => names.includes(name)) ?? other
  const wait = row.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: row.retryAfterSeconds }
  return new Problem(row.kind, row.says(call), { cause, extra: { reason: row.reason, ...wait } })
}
