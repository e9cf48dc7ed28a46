import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadMembership } from '#gateway/uplink/membership.ts'
import { centreServingNames } from '#mesh/trust/names.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import { type Holder, make, makeControlPlaneCa } from '#tests/support/authorities.ts'
import { call, joinMember, joinWith, startTestCentre, type TestCentre } from '#tests/support/channel.ts'

/** A centre behind a certificate of a public authority, which the operator's files do not end in. */
const dir = mkdtempSync(join(tmpdir(), 'public-'))
const known = getCACertificates('default')
let authority: Holder
let centre: TestCentre
beforeAll(async () => {
  authority = await makeControlPlaneCa()
  const own = await make({
    profile: 'centre-serving',
    names: centreServingNames([], ['127.0.0.1']),
    by: authority,
  })
  const tls = { cert: join(dir, 'own.pem'), key: join(dir, 'own.key') }
  writeFileSync(tls.cert, own.pem)
  writeFileSync(tls.key, own.key.keyPem, { mode: 0o600 })
  centre = await startTestCentre({ tls })
})
afterAll(async () => {
  setDefaultCACertificates(known)
  await centre?.end()
  rmSync(dir, { recursive: true, force: true })
})

async function tokenOf(name: string): Promise<string> {
  const bearer = readFileSync(centre.served().keyFile, 'utf8').trim()
  const asked = { method: 'POST', ca: authority.pem, bearer }
  await call({ ...asked, url: `${centre.url}/v1/clusters`, body: { name } })
  const { body } = await call({ ...asked, url: `${centre.url}/v1/clusters/${name}/join-tokens` })
  return String(body['token'])
}

test('its join token names no CA; who does not trust the authority spends nothing', async () => {
  const token = await tokenOf('north')
  expect(parseJoinToken(token).caSha256).toBeUndefined()
  const at = join(dir, 'north')
  await expect(joinWith(token, 'north', at)).rejects.toThrow(
    /of a CA that this machine does not know, and the join token names none/,
  )
  expect(loadMembership(at)).toBeUndefined()
})

test('after the join the line and its hints go on by the public authority, not by the own CA', async () => {
  setDefaultCACertificates([...known, authority.pem])
  const membership = await joinWith(await tokenOf('east'), 'east', join(centre.dir, 'east'))
  expect(membership.publiclyTrusted).toBe(true)
  expect(membership.controlPlaneCa).not.toContain(authority.pem.split('\n')[1])
  const east = await joinMember(centre, 'east')
  east.uplink().start()
  await expect.poll(() => east.uplink().status().state, { timeout: 10_000 }).toBe('connected')
  await expect.poll(() => east.uplink().status().hints, { timeout: 10_000 }).toBe(true)
  east.end()
})
