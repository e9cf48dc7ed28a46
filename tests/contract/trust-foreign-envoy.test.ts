import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  authorityOf,
  leafOf,
  meshRoot,
  placesOf,
  serverCase,
  startBorder,
  stopBorder,
  trustedRoots,
} from '#mesh/translate/testdata/border.ts'
import { type Running, startEnvoy } from '#mesh/translate/testdata/real-envoy.ts'
import { shutInto } from '#mesh/trust/name-constraints.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { type Holder, makeControlPlaneCa } from '#tests/support/authorities.ts'
import type { AnyName } from '#tests/support/crooked.ts'
import { foreignIssuing, foreignLeaf, foreignRoot } from '#tests/support/foreign-mesh.ts'
import type { Pair } from '#tests/support/impostors.ts'
import { envoyPath } from '#tests/support/parts.ts'
import { openRelayDoor, type RelayDoor } from '#tests/support/relay-doors.ts'

/**
 * Cluster b admits two other meshes beside its own. Each of them has the key of a root that nothing confines, and signs
 * whatever it likes: it is taken for itself, and for nobody else, anywhere.
 */
const sni = 'outbound_.9080_._.reviews.bookinfo.svc.cluster.local'
const asPartner = 'spiffe://partner.example/ns/shop/sa/web'
const asOther = 'spiffe://other.example/ns/shop/sa/web'
const asA = 'spiffe://a.mesh1/ns/bookinfo/sa/productpage'
const asB = 'spiffe://b.mesh1/ns/bookinfo/sa/productpage'
const refused = ['refused', 'refused', 'refused', 'refused']
const dir = mkdtempSync(join(tmpdir(), 'isthmus-foreign-'))

let partner: Holder
let partnerIssuing: Holder
let other: Holder
let confined: Holder
let stranger: Holder
let loose: Holder
let relay: RelayDoor
/** The pod of b once more, with every root in one list: what this would be without anchors by trust domain. */
let common: { readonly at: string; readonly envoy: Running }

beforeAll(async () => {
  const envoy = await envoyPath()
  partner = await foreignRoot('partner root')
  other = await foreignRoot('other root')
  confined = await foreignRoot('confined root', { constraints: shutInto(parseTrustDomain('confined.example')) })
  const foreign = {
    'partner.example': [partner.pem],
    'other.example': [other.pem],
    'confined.example': [confined.pem],
  }
  await startBorder(envoy, { consumers: ['a'], foreign, alone: true })
  partnerIssuing = await foreignIssuing(partner, 'partner issuing')
  stranger = await foreignRoot('stranger')
  loose = await foreignIssuing(meshRoot(), 'an authority of ours that nothing confines')
  relay = await openRelayDoor('b', {
    ...{ root: meshRoot(), issuing: authorityOf('b'), controlPlane: await makeControlPlaneCa() },
  })
  const text = serverCase('b')
  const at = `127.${randomInt(64, 250)}.${randomInt(26, 99)}.1`
  const id = text.proxy.id.replace(placesOf('b').server, at)
  const { foreign: _, ...noForeign } = { ...text.bundle }
  const config = { ...text.config, members: ['a', 'b'], roots: [trustedRoots(), partner.pem] }
  const pods = Object.fromEntries(Object.entries(text.pods ?? {}).map(([name, pod]) => [name, { ...pod, ip: at }]))
  const all = { ...text, pods, config, bundle: { ...noForeign, roots: config.roots } }
  const leaf = await leafOf('b', 'bookinfo', 'reviews')
  const proxy = {
    ...text.proxy,
    id,
    metadata: {
      INTERCEPTION_MODE: 'NONE',
      ISTHMUS: { application: placesOf('b').app, outbound: `${at.slice(0, -1)}3` },
    },
  }
  common = { at, envoy: await startEnvoy({ ...all, proxy }, { envoy, dir, name: 'common', leaf, ready: `${at}:9080` }) }
}, 30_000)

afterAll(async () => {
  await Promise.all([stopBorder(), common?.envoy.stop(), relay?.close()])
  rmSync(dir, { recursive: true, force: true })
})

/** The pod, the pod through its gateway, and both calls at the relay's port. */
async function everywhere(pair: Pair): Promise<string[]> {
  const { server, gateway } = placesOf('b')
  return [
    await call(server, 9080, pair),
    await call(gateway, 15443, pair),
    await relay.look(pair),
    await relay.renew(pair),
  ]
}
const only = (id: string): string[] => [id, id, 'refused', 'refused']

const uri = (text: string): AnyName => ({ uri: text })
test('another mesh is taken for itself, and our own as ever', async () => {
  const ours = await leafOf('a', 'bookinfo', 'productpage')
  const rows = {
    'our own': await everywhere({ cert: ours.chain, key: ours.key }),
    'of its root': await everywhere(await foreignLeaf(partner, [uri(asPartner)])),
    'of its root, which it does not show': await everywhere(
      await foreignLeaf(partner, [uri(asPartner)], { chain: '' }),
    ),
    'of an issuing CA below it': await everywhere(await foreignLeaf(partnerIssuing, [uri(asPartner)])),
    'with a DNS name beside its id': await everywhere(
      await foreignLeaf(partner, [uri(asPartner), { dns: 'reviews.bookinfo.svc.cluster.local' }]),
    ),
    'of the other mesh': await everywhere(await foreignLeaf(other, [uri(asOther)])),
    'of a root with constraints of its own': await everywhere(
      await foreignLeaf(confined, [uri('spiffe://confined.example/ns/shop/sa/web')]),
    ),
  }
  expect(rows).toEqual({
    'our own': only(asA),
    'of its root': only(asPartner),
    'of its root, which it does not show': only(asPartner),
    'of an issuing CA below it': only(asPartner),
    'with a DNS name beside its id': only(asPartner),
    'of the other mesh': only(asOther),
    'of a root with constraints of its own': only('spiffe://confined.example/ns/shop/sa/web'),
  })
})

test('nobody is taken for somebody else, whoever signed', async () => {
  const ended = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 1000) }
  const pairs: Record<string, Promise<Pair>> = {
    'theirs: our b': foreignLeaf(partner, [uri(asB)]),
    'theirs: our a': foreignLeaf(partner, [uri(asA)]),
    'theirs: our a, from an issuing CA': foreignLeaf(partnerIssuing, [uri(asA)]),
    'theirs: itself, then our b': foreignLeaf(partner, [uri(asPartner), uri(asB)]),
    'theirs: our b, then itself': foreignLeaf(partner, [uri(asB), uri(asPartner)]),
    'theirs: itself, then another mesh': foreignLeaf(partner, [uri(asPartner), uri(asOther)]),
    'theirs: another mesh': foreignLeaf(partner, [uri(asOther)]),
    'theirs: itself in capitals': foreignLeaf(partner, [uri(asPartner.replace('partner', 'PARTNER'))]),
    'theirs: a domain below its own': foreignLeaf(partner, [uri(asPartner.replace('//', '//b.'))]),
    'theirs: a user part': foreignLeaf(partner, [uri('spiffe://partner.example:x@b.mesh1/ns/bookinfo/sa/productpage')]),
    'theirs: a DNS name that spells our id': foreignLeaf(partner, [{ dns: asB }]),
    'theirs: a subject that spells our id': foreignLeaf(partner, [], { subject: asB }),
    'theirs: no name': foreignLeaf(partner, []),
    'theirs: ended': foreignLeaf(partner, [uri(asPartner)], ended),
    'theirs: an authority as a leaf': foreignLeaf(partner, [uri(asPartner)], { ca: {} }),
    'theirs, confined: a DNS name beside its id': foreignLeaf(confined, [
      uri('spiffe://confined.example/ns/shop/sa/web'),
      { dns: 'shop.confined.example' },
    ]),
    'ours: theirs': foreignLeaf(authorityOf('a'), [uri(asPartner)]),
    'ours, though nothing confines it: theirs': foreignLeaf(loose, [uri(asPartner)]),
    'a stranger: theirs': foreignLeaf(stranger, [uri(asPartner)]),
    'a stranger of the same name: theirs': foreignRoot('partner root').then((by) => foreignLeaf(by, [uri(asPartner)])),
  }
  const rows: Record<string, string[]> = {}
  for (const [what, pair] of Object.entries(pairs)) rows[what] = await everywhere(await pair)
  expect(rows).toEqual(Object.fromEntries(Object.keys(pairs).map((what) => [what, refused])))
  expect(await everywhere(await foreignLeaf(partner, [uri(asPartner)])), 'and it is still taken for itself').toEqual(
    only(asPartner),
  )
})

test('with all roots in one list another mesh is taken for us: the table can fail', async () => {
  expect(await call(common.at, 9080, await foreignLeaf(partner, [uri(asA)]))).toBe(asA)
  expect(await call(common.at, 9080, await foreignLeaf(partner, [uri(asPartner), uri(asA)]))).toBe(
    `${asPartner} and ${asA}`,
  )
})

/** One request on a connection of its own: the id by which the application was told of the caller. */
function call(host: string, port: number, pair: Pair): Promise<string> {
  return new Promise((done) => {
    const outgoing = request(
      {
        ...{ host, port, ...pair, ca: trustedRoots(), servername: sni, ALPNProtocols: ['istio'] },
        ...{ agent: false, timeout: 5000, headers: { host: 'reviews' }, checkServerIdentity: () => undefined },
      },
      (answer) => {
        let text = ''
        answer.on('data', (data: Buffer) => {
          text += data.toString()
        })
        answer.on('end', () => {
          const { xfcc } = JSON.parse(text === '' || answer.statusCode !== 200 ? '{}' : text) as { xfcc?: string }
          const uris = [...(xfcc ?? '').matchAll(/;URI=([^;]*)/g)].map(([, found]) => found)
          done(uris.length > 0 ? uris.join(' and ') : `answered ${answer.statusCode}`)
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('silence')))
    outgoing.on('error', (fault) => done(fault.message === 'silence' ? 'silence' : 'refused'))
    outgoing.end()
  })
}
