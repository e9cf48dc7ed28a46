import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Certification } from '#gateway/identity/certified-key.ts'
import { openIssuingKey, type Renewal, renew } from '#gateway/identity/issuing-key.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { issuingCaNames } from '#mesh/trust/names.ts'
import { planIssuingCa } from '#mesh/trust/plan-issuing-ca.ts'
import { domain, type Holder, makeRoot, mesh } from '#tests/support/authorities.ts'

/** A process that is killed at its `steps`th use of the disk from now: that one is half done, and none comes after it. */
const life = vi.hoisted(() => ({ steps: Number.POSITIVE_INFINITY, killed: () => {}, handles: [] as FileHandle[] }))

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  const step = async <T>(work: () => Promise<T>, half?: () => Promise<unknown>): Promise<T> => {
    life.steps -= 1
    if (life.steps >= 0) return await work()
    if (life.steps === -1) await half?.()
    life.killed()
    return await new Promise<never>(() => undefined)
  }
  const lived = (handle: FileHandle) => ({
    stat: () => step(() => handle.stat()),
    readFile: () => step(() => handle.readFile('utf8')),
    chmod: (mode: number) => step(() => handle.chmod(mode)),
    sync: () => step(() => handle.sync()),
    close: () => step(() => handle.close()),
    writeFile: (text: string) =>
      step(
        () => handle.writeFile(text),
        () => handle.writeFile(text.slice(0, text.length / 2)),
      ),
  })
  return {
    ...real,
    open: (...args: Parameters<typeof real.open>) =>
      step(async () => {
        const handle = await real.open(...args)
        life.handles.push(handle)
        return lived(handle)
      }),
    rename: (from: string, to: string) => step(() => real.rename(from, to)),
    rm: (path: string, options: object) => step(() => real.rm(path, options)),
  }
})

const trustDomain = domain('cluster-a')
const names = issuingCaNames(mesh, trustDomain)
const now = new Date('2026-05-01T00:00:00Z')
let scratch: string
let root: Holder
let serial = 1
/** The public keys that the centre certified, or was on the way to. */
let asked: string[] = []
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'killed-'))
  root = await makeRoot({ now })
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

async function certify(csr: string): Promise<Certification> {
  asked.push(Buffer.from(parseCsr(csr).spki).toString('hex'))
  const plan = planIssuingCa({
    csr,
    trustDomain,
    mesh,
    issuer: root.certificate,
    now,
    serial: new Uint8Array(16).fill(++serial),
  })
  return { chain: certificatePem(await issueCertificate(plan, root.key)), roots: [root.pem] }
}
const renewalIn = async (directory: string, more: Partial<Renewal> = {}): Promise<Renewal> => ({
  ...{ key: await openIssuingKey(directory), names, clock: () => now, certify, ...more },
})

/** Whether the work came to its end before the process was killed. */
async function killedAt(steps: number, work: () => Promise<unknown>): Promise<'killed' | 'done'> {
  const killed = new Promise<'killed'>((done) => {
    life.killed = () => done('killed')
  })
  life.steps = steps
  const end = await Promise.race([work().then(() => 'done' as const), killed])
  life.steps = Number.POSITIVE_INFINITY
  await Promise.allSettled(life.handles.splice(0).map((handle) => handle.close()))
  return end
}

test.each([
  ['a first key', false],
  ['the next key', true],
])(
  '%s: killed at any use of the disk, the relay goes on with a whole key, and none that was certified is lost',
  async (_, isNext) => {
    const before = mkdtempSync(join(scratch, 'before-'))
    if (isNext) await renew(await renewalIn(before))
    const first = (await openIssuingKey(before)).current()
    let end: 'killed' | 'done' = 'killed'
    let steps = 0
    for (; end === 'killed'; steps++) {
      const directory = mkdtempSync(join(scratch, 'at-'))
      cpSync(before, directory, { recursive: true })
      asked = []
      const dying = await renewalIn(directory)
      end = await killedAt(steps, () => renew(dying))
      const [taken] = asked

      const opened = await openIssuingKey(directory)
      const current = opened.current()
      const currentKey = current && Buffer.from(current.chain[0].publicKey.spki).toString('hex')
      const isWhole = current ? current.keyPem === first?.keyPem || currentKey === taken : !isNext
      expect(isWhole, `after ${steps}`).toBe(true)
      if (end === 'done') expect(currentKey).toBe(taken)

      // Asked again with the key that was asked for before the kill, or it is in use by now.
      if (taken !== undefined && currentKey !== taken) {
        const made = await renew(await renewalIn(directory))
        expect(asked.at(-1), `after ${steps}`).toBe(taken)
        expect(Buffer.from(made.chain[0].publicKey.spki).toString('hex')).toBe(taken)
      }
    }
    // Two texts, each saved twice: opened, its mode set, written, synced, closed, renamed, and its directory synced.
    expect(steps).toBeGreaterThan(30)
  },
)
