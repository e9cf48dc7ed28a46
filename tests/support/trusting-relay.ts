import { type Json, sha256Hex } from '#mesh/model/canonical.ts'
import { type BundleLink, digestOf, type TrustBundle } from '#mesh/model/trust-bundle.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { checkBundle, type Pin } from '#mesh/trust/check-bundle.ts'
import { parseTrustStream } from '#mesh/wire/bundle.ts'
import { trustStream } from '#mesh/wire/stream.ts'
import type { TrustReport } from '#mesh/wire/trust-report.ts'
import { type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { facts } from '#tests/support/stores.ts'

export const sha256Of = (pem: string): string => sha256Hex(parseCertificate(pem).der)

/**
 * A relay that takes part in trust: it believes bundles only by their chain, as a relay does, and says what it holds. What
 * it does about what it believes (new certificates, proxies that acknowledge) a test does for it, in whatever order.
 */
export class TrustingRelay {
  readonly relay: TestRelay
  pin: Pin = { seq: 0, digest: '', keys: [] }
  bundle: TrustBundle | undefined
  fault: string | undefined
  link: BundleLink | undefined
  /** What it says beside the bundle. */
  said: Partial<TrustReport> = {}
  #first = true

  constructor(test: TestCentre, name: string) {
    this.relay = new TestRelay(test, name)
  }

  static async join(test: TestCentre, name: string): Promise<TrustingRelay> {
    const one = new TrustingRelay(test, name)
    await one.relay.join()
    const { certificate } = await test.centre.keys.active('control-plane')
    one.pin = { seq: 0, digest: '', keys: [certificate] }
    return one
  }

  /** Pulls, and takes the bundle where its links lead to it. */
  async take(): Promise<this> {
    await this.relay.pull()
    const held = this.relay.held.get(trustStream('mesh1'))
    const { bundle, links } = parseTrustStream(
      new Map([...(held?.items ?? [])].map(([key, text]) => [key, JSON.parse(text)])),
    )
    if (!bundle) throw new Error('no bundle came')
    const checked = checkBundle(this.pin, { bundle, links })
    this.fault = 'fault' in checked ? `${checked.fault}: ${checked.detail}` : undefined
    const { fault: _, proof: __, ...said } = this.said
    this.said = said
    if ('fault' in checked) {
      const { fault: reason, detail } = checked
      const held =
        reason === 'RolledBack' && this.bundle && this.link ? { bundle: this.bundle, link: this.link } : undefined
      const proof = held ? { proof: held as NonNullable<TrustReport['proof']> } : {}
      this.said = { ...said, fault: { reason, detail }, ...proof }
      return this
    }
    this.pin = checked.pin
    this.bundle = bundle
    this.link = links.find(({ seq }) => seq === bundle.seq)
    return this
  }

  /** Everything that an active authority asks for is done: certificates under it, leaves renewed, proxies up to date. */
  renewed(): this {
    const active = (list: TrustBundle['roots'] = []) =>
      sha256Of(list.find(({ state }) => state === 'active')?.pem ?? '')
    const [root, ca] = [active(this.bundle?.roots), active(this.bundle?.controlPlane)]
    const notAfter = this.relay.test.clock.now + 86_400_000
    const trustDomain = this.relay.trustDomain
    this.said = { ...this.said, issuing: { root, notAfter, trustDomain }, serving: { ca, notAfter } }
    return this
  }

  report(): TrustReport {
    return {
      ...{ seq: this.pin.seq, digest: this.pin.digest, proxies: 2, acked: 2, missing: [], missingCount: 0 },
      ...{ issuing: null, serving: null, pinned: this.pin.keys.map(({ der }) => sha256Hex(der)) },
      ...{
        proxyCas: { all: 2, current: 2 },
        leaves: { old: 0, oldestNotAfter: 0 },
        cuts: [],
        log: { seq: 0, hash: '' },
      },
      ...this.said,
    }
  }

  /** Tells the centre. */
  async tell(): Promise<this> {
    const first = this.#first
    this.#first = false
    const changes = {
      ...(first ? { cluster: facts(`net-${this.relay.name}`) } : {}),
      trust: this.report() as unknown as Json,
    }
    const { status, body } = await this.relay.sync(changes, first ? { complete: true } : {})
    if (status !== 200) throw new Error(`sync of ${this.relay.name}: ${JSON.stringify(body)}`)
    return this
  }

  /** Goes on at another centre (the same with another store): it reports everything in a new epoch. */
  async moveTo(test: TestCentre, epoch: string): Promise<void> {
    Object.assign(this.relay, { test })
    this.relay.reporter.restart(epoch)
    this.#first = true
    await this.relay.authenticate()
  }

  /** Takes what there is, does what it asks for, and says so. */
  async keepUp(): Promise<this> {
    await this.take()
    return this.renewed().tell()
  }

  /** The bundle's own digest, computed from what is held. */
  digest(): string {
    return this.bundle ? digestOf(this.bundle) : ''
  }
}
