const names = [
  'authorization',
  'token',
  'accessToken',
  'bearerToken',
  'assertion',
  'key',
  'privateKey',
  'csr',
  'passphrase',
  'cookie',
]

/**
 * What no log line may show, as pino's `redact` takes it: fields of these names, down to the third level. A field for people
 * to read has another name (`item`, not `key`).
 */
export const logRedaction = {
  paths: names.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
  censor: '[redacted]',
}
