/** Object identifiers by the names that RFC 5280 and RFC 5480 give them. */
export const oids = {
  organization: '2.5.4.10',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const

export const extendedUsages = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2' } as const
export type ExtendedUsage = keyof typeof extendedUsages

/** Bits of keyUsage in the order of RFC 5280 §4.2.1.3: bit 0 is the highest bit of the first byte. */
export const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const
export type KeyUsage = (typeof keyUsages)[number]

/** What may sign: no MD5, no SHA-1. The digest is the name node:crypto knows it by. */
export const signatureAlgorithms = {
  'ecdsa-sha256': { oid: '1.2.840.10045.4.3.2', digest: 'sha256', key: 'ec' },
  'ecdsa-sha384': { oid: '1.2.840.10045.4.3.3', digest: 'sha384', key: 'ec' },
  'ecdsa-sha512': { oid: '1.2.840.10045.4.3.4', digest: 'sha512', key: 'ec' },
  'rsa-sha256': { oid: '1.2.840.113549.1.1.11', digest: 'sha256', key: 'rsa' },
  'rsa-sha384': { oid: '1.2.840.113549.1.1.12', digest: 'sha384', key: 'rsa' },
  'rsa-sha512': { oid: '1.2.840.113549.1.1.13', digest: 'sha512', key: 'rsa' },
} as const
export type AnySignatureAlgorithm = keyof typeof signatureAlgorithms

/** What authorities here sign with: the digest as wide as the curve. RSA: those that were brought along. */
export type SignatureAlgorithm = 'ecdsa-sha256' | 'ecdsa-sha384' | 'rsa-sha256'

export const signatureAlgorithmOf = (dotted: string): AnySignatureAlgorithm | undefined =>
  (Object.keys(signatureAlgorithms) as AnySignatureAlgorithm[]).find((name) => signatureAlgorithms[name].oid === dotted)
