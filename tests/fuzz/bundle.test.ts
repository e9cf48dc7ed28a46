import { createHash, verify, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, test } from 'vitest'
import type { BundleLink, TrustBundle } from '#mesh/model/trust-bundle.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { checkBundle } from '#mesh/trust/check-bundle.ts'
import { controlPlaneCaNames } from '#mesh/trust/names.ts'
import { signLink } from '#mesh/trust/sign-link.ts'
import { bundleKeys, parseTrustStream } from '#mesh/wire/bundle.ts'
import { type Change, changed, changes, each, fuzz, outcome, timeout } from '#tests/fuzz/fuzz.ts'
import { makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'

type Input = { readonly pin: string; readonly items: Readonly<Record<string, unknown>> }
let honest: Input
beforeAll(async () => {
  const now = new Date('2026-06-01T00:00:00Z')
  const [one, two] = await Promise.all(
    [1, 2].map((n) => makeControlPlaneCa({ now, names: controlPlaneCaNames(mesh, n) })),
  )
  if (!one || !two) throw new Error('two were made')
  const root = await makeRoot({ now })
  const lists = [[one], [one, two], [two]]
  const bundles = lists.map(
    (list, i): TrustBundle => ({
      ...{ mesh, seq: i + 1, at: i, revoked: [], denied: [], foreign: [] },
      roots: [{ pem: root.pem, state: 'active' }],
      controlPlane: list.map(({ pem }) => ({ pem, state: 'active' })),
    }),
  )
  const by = { certificate: one.certificate, signer: one.key }
  const links = await Promise.all(bundles.map((bundle, i) => signLink(bundles[i - 1], bundle, by)))
  const items = Object.fromEntries(links.map((link) => [bundleKeys.link(link.seq), link]))
  honest = { pin: one.pem, items: { ...items, bundle: bundles[2] } }
})

/** One value somewhere in the items replaced; `at` chooses it. */
function replaced(value: unknown, at: readonly number[], by: unknown): unknown {
  const [first, ...rest] = at
  if (first === undefined || typeof value !== 'object' || value === null) return by
  const keys = Object.keys(value)
  const key = keys[first % Math.max(keys.length, 1)]
  if (key === undefined) return by
  const parts: Record<string, unknown> = { ...value }
  parts[key] = replaced(parts[key], rest, by)
  return Array.isArray(value) ? Object.values(parts) : parts
}

describe('bundles', { timeout }, () => {
  test('any change: refused, or signed through and through, as others read it', async () => {
    await fuzz<readonly Change[] | readonly [readonly number[], unknown]>({
      kind: 'bundle',
      specs: fc.oneof(
        changes(),
        fc.tuple(fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 5 }), fc.jsonValue()),
      ),
      build: (spec) => {
        const [first] = spec
        const isChange = Array.isArray(first) && first.length === 3 && typeof first[2] === 'string'
        if (isChange) {
          const bytes = changed(Buffer.from(JSON.stringify(honest.items)), spec as readonly Change[])
          return `{"pin":${JSON.stringify(honest.pin)},"items":${Buffer.from(bytes).toString('utf8')}}`
        }
        const [at, by] = spec as readonly [readonly number[], unknown]
        return JSON.stringify({ ...honest, items: replaced(honest.items, at, by) })
      },
      judge: each(judge),
    })
  })
})

function judge(input: string): string | undefined {
  const asked = read(input)
  if (!asked) return undefined
  const said = outcome(() => parseTrustStream(new Map(Object.entries(asked.items))))
  if (said === 'refused') return undefined
  if ('crash' in said) return said.crash
  const { bundle, links } = said.value
  if (!bundle) return undefined
  const answer = checkBundle({ seq: 0, digest: '', keys: [parseCertificate(asked.pin)] }, { bundle, links })
  return 'fault' in answer ? undefined : unsigned(asked)
}

function read(input: string): Input | undefined {
  try {
    const value = JSON.parse(input) as Input
    return typeof value.items === 'object' && value.items !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** The same rule in other words, from the raw text: who signed what, by OpenSSL's reading of the certificates. */
function unsigned({ pin, items }: Input): string | undefined {
  const bundle = items['bundle'] as TrustBundle
  const links = Object.entries(items)
    .filter(([key]) => key.startsWith('link/'))
    .map(([, link]) => link as BundleLink)
    .toSorted((a, b) => a.seq - b.seq)
  let keys = [new X509Certificate(pin)]
  let begun = false
  for (const link of links) {
    const { signature, ...rest } = link
    const by = keys.find((key) => createHash('sha256').update(key.raw).digest('hex') === link.signer)
    if (!by && !begun) continue
    begun = true
    const text = canonical({ ...rest, type: 'isthmus-bundle/1', mesh: bundle.mesh })
    if (!by || !verify('sha256', Buffer.from(text), by.publicKey, Buffer.from(signature, 'base64')))
      return `taken, though nobody signed link ${link.seq}`
    if (link.controlPlane) keys = link.controlPlane.map((pem) => new X509Certificate(pem))
  }
  const digest = createHash('sha256').update(canonical(bundle)).digest('hex')
  return links.at(-1)?.digest === digest ? undefined : 'taken, though its last link is of another bundle'
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
