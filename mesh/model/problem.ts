/** The closed table of errors: what each kind means on HTTP and gRPC, and whether sending the same again can help. */
export const problemKinds = {
  invalid: { http: 400, grpc: 3, title: 'The request is not valid', retry: 'no' },
  unauthenticated: { http: 401, grpc: 16, title: 'The caller is not known', retry: 'no' },
  forbidden: { http: 403, grpc: 7, title: 'The caller may not do this', retry: 'no' },
  'not-found': { http: 404, grpc: 5, title: 'There is no such object', retry: 'no' },
  conflict: { http: 409, grpc: 9, title: 'The state of the object forbids this', retry: 'after reading again' },
  stale: { http: 412, grpc: 10, title: 'The object has moved on', retry: 'after reading again' },
  'too-large': { http: 413, grpc: 8, title: 'The request is too large', retry: 'no' },
  'too-many': { http: 429, grpc: 8, title: 'Too many requests', retry: 'later' },
  unavailable: { http: 503, grpc: 14, title: 'Not available now', retry: 'later' },
  internal: { http: 500, grpc: 13, title: 'A fault of ours', retry: 'no' },
} as const

export type ProblemKind = keyof typeof problemKinds

/** One reason why something is `invalid`: a path into the object (`spec.ports[0].port`) and what is wrong there. */
export type Violation = { readonly path: string; readonly reason: string }

/**
 * The one error class. `detail` is for the caller and says what failed, on which object, and what mends it;
 * `cause` is for the log and never leaves the process; `extra` holds facts that a program needs (e.g. `needSeq`).
 */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly kind: ProblemKind
  readonly violations: readonly Violation[]
  readonly extra: Readonly<Record<string, string | number | boolean>>

  constructor(
    kind: ProblemKind,
    detail: string,
    more: {
      readonly violations?: readonly Violation[]
      readonly cause?: unknown
      readonly extra?: Readonly<Record<string, string | number | boolean>>
    } = {},
  ) {
    super(detail, more.cause === undefined ? undefined : { cause: more.cause })
    this.kind = kind
    this.violations = more.violations ?? []
    this.extra = more.extra ?? {}
  }
}
