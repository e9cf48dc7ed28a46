import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { type BundleLink, type BundleRoot, digestOf, signedText, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { checkBundle, keptLinks, linksKept, type Pin, signerOf } from '#mesh/trust/check-bundle.ts'
import { controlPlaneCaNames } from '#mesh/trust/names.ts'
import { signLink } from '#mesh/trust/sign-link.ts'
import { type Holder, keyInHand, makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'

/** One bundle of a history, its link, and who signs what comes after it. */
type Step = { readonly bundle: TrustBundle; readonly link: BundleLink; readonly active: Holder }
type Listed = readonly [holder: Holder, state: BundleRoot['state']]

let cas: readonly Holder[]
let root: Holder
let history: readonly Step[]

/**
 * What a centre says in a long life: the control-plane CA rotates twice, a third rotation is aborted. Between them so many
 * plain changes that the links of the first rotation are no longer all kept.
 */
beforeAll(async () => {
  root = await makeRoot()
  const [one, two, three, four] = await Promise.all([1, 2, 3, 4].map(makeCa))
  if (!one || !two || !three || !four) throw new Error('four were made')
  cas = [one, two, three, four]
  const plain = (n: number, list: readonly Listed[]): (readonly Listed[])[] => Array.from({ length: n }, () => list)
  history = await live([
    ...plain(4, [[one, 'active']]),
    [
      [one, 'active'],
      [two, 'published'],
    ],
    ...plain(2, [
      [one, 'tainted'],
      [two, 'active'],
    ]),
    ...plain(60, [[two, 'active']]),
    [
      [two, 'active'],
      [three, 'published'],
    ],
    ...plain(3, [[two, 'active']]),
    [
      [two, 'active'],
      [four, 'published'],
    ],
    [
      [two, 'tainted'],
      [four, 'active'],
    ],
    ...plain(8, [[four, 'active']]),
  ])
})

const makeCa = (n: number): Promise<Holder> =>
  makeControlPlaneCa({ names: controlPlaneCaNames(mesh, n), ...(n === 4 ? { key: keyInHand('P-384') } : {}) })

async function live(lists: readonly (readonly Listed[])[]): Promise<readonly Step[]> {
  const steps: Step[] = []
  for (const [i, list] of lists.entries()) {
    const before = steps.at(-1)
    const active = list.find(([, state]) => state === 'active')?.[0]
    if (!active) throw new Error('one is active')
    const bundle: TrustBundle = {
      mesh,
      seq: i + 1,
      at: 1_000_000 + i,
      roots: [{ pem: root.pem, state: 'active' }],
      controlPlane: list.map(([{ pem }, state]) => ({ pem, state })),
      revoked: [],
      denied: Array.from({ length: i % 3 }, (_, n) => ({ id: `spiffe://a.mesh1/ns/x/sa/s${n}`, cut: n + 1 })),
      foreign: [],
    }
    const { key, certificate } = before?.active ?? active
    steps.push({ bundle, link: await signLink(before?.bundle, bundle, { certificate, signer: key }), active })
  }
  return steps
}

const stepAt = (seq: number, of = history): Step => {
  const step = of[seq - 1]
  if (!step) throw new Error(`no bundle ${seq}`)
  return step
}
const keysOf = (step: Step): readonly Certificate[] =>
  cas.filter(({ pem }) => step.bundle.controlPlane.some((one) => one.pem === pem)).map((one) => one.certificate)
const pinAt = (seq: number): Pin => {
  const step = stepAt(seq)
  return { seq, digest: digestOf(step.bundle), keys: keysOf(step) }
}
const saidAt = (seq: number, of = history) => ({
  bundle: stepAt(seq, of).bundle,
  links: keptLinks(of.slice(0, seq).map(({ link }) => link)),
})
const names = (pin: Pin): string => [pin.seq, pin.digest, ...pin.keys.map(signerOf).toSorted()].join()
const outcome = (pin: Pin, said: Parameters<typeof checkBundle>[1]): string => {
  const answer = checkBundle(pin, said)
  return 'fault' in answer ? answer.fault : names(answer.pin)
}

const fault = /^(RolledBack|Forked|BadSignature|BrokenChain|Misfit)$/

/** Two numbers of the history, `from` ≤ `to`. */
const road = () =>
  fc
    .tuple(fc.integer({ min: 1, max: history.length }), fc.integer({ min: 1, max: history.length }))
    .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))

describe('an honest history', () => {
  test('is taken up from every older pin, and the pin moves with it', () => {
    expect(history.length).toBeGreaterThan(linksKept + 15)
    fc.assert(
      fc.property(road(), ({ from, to }) => {
        expect(outcome(pinAt(from), saidAt(to))).toBe(names(pinAt(to)))
      }),
      { numRuns: 150 },
    )
  })

  test('is taken up by who has just joined, with the CAs of that moment, whenever it first hears of it', () => {
    fc.assert(
      fc.property(road(), ({ from, to }) => {
        const fresh = { seq: 0, digest: '', keys: keysOf(stepAt(from)) }
        expect(outcome(fresh, saidAt(to))).toBe(names(pinAt(to)))
      }),
      { numRuns: 150 },
    )
  })

  test('is taken up by who joined with the active CA alone, as soon as that one has signed a link', () => {
    fc.assert(
      fc.property(road(), ({ from, to }) => {
        const { certificate } = stepAt(from).active
        const signed = saidAt(to).links.some(({ signer }) => signer === signerOf(certificate))
        const answer = outcome({ seq: 0, digest: '', keys: [certificate] }, saidAt(to))
        expect(answer).toBe(signed ? names(pinAt(to)) : 'BrokenChain')
      }),
      { numRuns: 100 },
    )
  })

  test('the same again is nothing new', () => {
    const pin = pinAt(7)
    expect(checkBundle(pin, { ...saidAt(7), links: [] })).toEqual({ pin })
  })

  test('of its links the newest 64 are kept, and those that change the CAs', () => {
    const kept = saidAt(history.length).links.map(({ seq }) => seq)
    expect(kept.filter((seq) => seq <= history.length - linksKept)).toEqual([1, 5, 8])
    expect(kept).toHaveLength(linksKept + 3)
  })

  test('who joined with a CA that never signed begins anew by joining anew', () => {
    const stranger = cas[2]
    if (!stranger) throw new Error('there are four')
    const fresh = { seq: 0, digest: '', keys: [stranger.certificate] }
    expect(checkBundle(fresh, saidAt(history.length))).toMatchObject({ fault: 'BrokenChain', detail: /join anew/ })
  })
})

describe('refused', () => {
  test('an older bundle, however well signed', () => {
    fc.assert(
      fc.property(road(), ({ from, to }) => {
        fc.pre(from < to)
        expect(outcome(pinAt(to), saidAt(from))).toBe('RolledBack')
      }),
      { numRuns: 60 },
    )
  })

  test('any one byte changed, in the bundle or in a link on the way', () => {
    fc.assert(
      fc.property(road(), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), ({ from, to }, which, at, by) => {
        fc.pre(from < to)
        const said = saidAt(to)
        const news = said.links.filter(({ seq }) => seq > from)
        const chosen = which % (news.length + 1)
        const change = <T>(value: T): T | undefined => {
          const bytes = Buffer.from(JSON.stringify(value))
          const place = at % bytes.length
          bytes[place] = (bytes[place] ?? 0) ^ by
          try {
            return JSON.parse(bytes.toString('utf8')) as T
          } catch {
            return undefined
          }
        }
        const link = news[chosen]
        const bundle = link ? said.bundle : change(said.bundle)
        const changed = link && change(link)
        fc.pre(bundle !== undefined && (link === undefined || changed !== undefined))
        const links = changed ? said.links.map((one) => (one === link ? changed : one)) : said.links
        const answer = shaped({ bundle, links }) ? outcome(pinAt(from), { bundle, links }) : 'Misfit'
        expect(answer).toMatch(fault)
      }),
      { numRuns: 400 },
    )
  })

  test('a link left out: refused, or its absence changes nothing', () => {
    fc.assert(
      fc.property(road(), fc.nat(), ({ from, to }, which) => {
        fc.pre(from < to)
        const said = saidAt(to)
        const news = said.links.filter(({ seq }) => seq > from)
        const gone = news[which % news.length]
        const answer = outcome(pinAt(from), { ...said, links: said.links.filter((link) => link !== gone) })
        const recent = (gone?.seq ?? 0) > to - linksKept
        if (recent || answer !== names(pinAt(to))) expect(answer).toMatch(fault)
      }),
      { numRuns: 150 },
    )
  })

  test('the content of two links exchanged', () => {
    fc.assert(
      fc.property(road(), fc.nat(), fc.nat(), ({ from, to }, a, b) => {
        const said = saidAt(to)
        const news = said.links.filter(({ seq }) => seq > Math.max(from, to - linksKept))
        const [one, other] = [news[a % news.length], news[b % news.length]]
        fc.pre(one !== undefined && other !== undefined && one !== other)
        if (!one || !other) return
        const links = said.links.map((link) =>
          link === one ? { ...other, seq: one.seq } : link === other ? { ...one, seq: other.seq } : link,
        )
        expect(outcome(pinAt(from), { ...said, links })).toMatch(fault)
      }),
      { numRuns: 100 },
    )
  })

  test('another bundle under a number that is known: a fork, also where it goes on', async () => {
    const { active } = stepAt(10)
    const other = { ...stepAt(10).bundle, at: 7 }
    const by = { certificate: active.certificate, signer: active.key }
    const link = await signLink(stepAt(9).bundle, other, by)
    const links = [...saidAt(9).links, link]
    expect(outcome(pinAt(10), { bundle: other, links })).toBe('Forked')
    const next = { ...other, seq: 11 }
    expect(outcome(pinAt(10), { bundle: next, links: [...links, await signLink(other, next, by)] })).toBe('Forked')
    expect(outcome(pinAt(9), { bundle: next, links: [...links, await signLink(other, next, by)] })).not.toMatch(fault)
  })

  test('what a CA signed that is in force no more, or not yet', async () => {
    const said = { ...stepAt(20).bundle, seq: 21, at: 7 }
    for (const holder of [cas[0], cas[3]]) {
      if (!holder) throw new Error('there are four')
      const link = await signLink(stepAt(20).bundle, said, { certificate: holder.certificate, signer: holder.key })
      const answer = checkBundle(pinAt(20), { bundle: said, links: [...saidAt(20).links, link] })
      expect(answer).toMatchObject({ fault: 'BadSignature', detail: /in force/ })
    }
  })

  test('a takeover that the new CA signs itself', async () => {
    const [, two, three] = cas
    if (!two || !three) throw new Error('there are four')
    const said = { ...stepAt(20).bundle, seq: 21, controlPlane: [{ pem: three.pem, state: 'active' as const }] }
    const link = await signLink(stepAt(20).bundle, said, { certificate: three.certificate, signer: three.key })
    expect(outcome(pinAt(20), { bundle: said, links: [link] })).toBe('BadSignature')
    const forged = { ...link, signer: signerOf(two.certificate) }
    expect(outcome(pinAt(20), { bundle: said, links: [forged] })).toBe('BadSignature')
  })

  test('a list of CAs in the bundle that no link speaks of', async () => {
    const { active, bundle } = stepAt(20)
    const three = cas[2]
    if (!three) throw new Error('there are four')
    const said: TrustBundle = {
      ...bundle,
      seq: 21,
      controlPlane: [...bundle.controlPlane, { pem: three.pem, state: 'published' }],
    }
    const signer = signerOf(active.certificate)
    const unsigned = { seq: 21, prev: digestOf(bundle), digest: digestOf(said), at: said.at, signer }
    const signature = Buffer.from(await active.key.sign(Buffer.from(signedText(mesh, unsigned)))).toString('base64')
    expect(checkBundle(pinAt(20), { bundle: said, links: [{ ...unsigned, signature }] })).toMatchObject({
      fault: 'Misfit',
      detail: /control-plane CAs/,
    })
  })

  test('a bundle of another mesh, a link twice, a link past the bundle, too many links', () => {
    const said = saidAt(12)
    const other = saidAt(20)
    const last = said.links.at(-1)
    if (!last) throw new Error('there are links')
    expect(outcome(pinAt(11), { ...said, bundle: { ...said.bundle, mesh: 'other' as typeof mesh } })).toBe('Misfit')
    expect(outcome(pinAt(11), { ...said, links: [...said.links, last] })).toBe('Misfit')
    expect(outcome(pinAt(11), { ...said, links: other.links })).toBe('Misfit')
    expect(outcome(pinAt(11), { ...said, links: [] })).toBe('Misfit')
    const many = Array.from({ length: 300 }, (_, i) => ({ ...last, seq: i + 1 }))
    expect(outcome(pinAt(11), { ...said, links: many })).toBe('Misfit')
  })

  test('a signature in another spelling of the same bytes', () => {
    const said = saidAt(12)
    const links = said.links.map((link) => (link.seq === 12 ? { ...link, signature: `${link.signature}\n` } : link))
    expect(outcome(pinAt(11), { ...said, links })).toBe('BadSignature')
  })
})

/** What the parser of the stream makes sure of before anything is checked. */
function shaped(said: { readonly bundle: unknown; readonly links: readonly BundleLink[] }): said is {
  readonly bundle: TrustBundle
  readonly links: readonly BundleLink[]
} {
  const bundle = said.bundle as Partial<TrustBundle>
  return Array.isArray(bundle.controlPlane) && Array.isArray(bundle.roots) && Number.isSafeInteger(bundle.seq)
}
