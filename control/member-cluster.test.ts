import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { restoreReports } from '#control/store/reported-facts.ts'
import { items, streams } from '#control/store/schema/stream.ts'
import { loadLive } from '#control/store/streams.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

describe('a cluster that left and came back', () => {
  test('exports nothing of its former life, also after the streams were lost and came back from its facts', async () => {
    const east = await new TestRelay(centre, 'east').join()
    await east.sync({ 'export/shop/reviews': exported() }, { complete: true })
    expect((await centre.admin('DELETE', '/v1/clusters/east')).status).toBe(200)
    await new TestRelay(centre, 'east').join()
    const live = await centre.db.transact(async (tx) => {
      await tx.delete(items)
      await tx.delete(streams)
      await restoreReports(tx, centre.clock.now)
      return loadLive(tx, { mesh: centre.centre.mesh, stream: 'rep/east' })
    })
    expect(live.map((item) => item.key)).toEqual([])
  })

  test('is expected where its operator says now', async () => {
    await centre.admin('POST', '/v1/clusters', { name: 'back', network: 'n1', region: 'r1' })
    await centre.admin('DELETE', '/v1/clusters/back')
    const { status, body } = await centre.admin('POST', '/v1/clusters', { name: 'back', network: 'n2' })
    expect([status, body['network'], body['region'], body['generation']]).toEqual([201, 'n2', '', 2])
  })
})

describe('a name that would be somebody else’s trust domain', () => {
  test.each(['paris-g2', 'paris-g1', 'x-g-g99'])('%s is refused, however it is asked for', async (name) => {
    const refused = { status: 400, body: { violations: [{ path: 'name', reason: expect.stringContaining('-g') }] } }
    expect(await centre.admin('POST', '/v1/clusters', { name })).toMatchObject(refused)
    expect(await centre.admin('POST', '/v1/clusters?dryRun=true', { name })).toMatchObject(refused)
    expect(await centre.admin('PUT', `/v1/clusters/${name}`, {})).toMatchObject(refused)
    expect((await centre.admin('GET', `/v1/clusters/${name}`)).status).toBe(404)
  })

  test('58 characters leave no room for a later generation, 57 do', async () => {
    const refused = { status: 400, body: { violations: [{ reason: expect.stringContaining('at most 57') }] } }
    expect(await centre.admin('POST', '/v1/clusters', { name: 'c'.repeat(58) })).toMatchObject(refused)
    expect((await centre.admin('POST', '/v1/clusters', { name: 'c'.repeat(57) })).status).toBe(201)
    expect((await centre.admin('DELETE', `/v1/clusters/${'c'.repeat(57)}`)).status).toBe(200)
    const again = await centre.admin('POST', '/v1/clusters', { name: 'c'.repeat(57) })
    expect(again).toMatchObject({ status: 201, body: { generation: 2 } })
  })

  test.each(['paris-g', 'paris-g2b', 'g2', 'ag2', 'paris-2'])('%s is somebody’s own', async (name) => {
    expect((await centre.admin('POST', '/v1/clusters', { name })).status).toBe(201)
  })
})

describe('PUT of a cluster', () => {
  const put = (name: string, body: object, headers = {}) => centre.admin('PUT', `/v1/clusters/${name}`, body, headers)

  test('that is expected notes its place, once', async () => {
    expect((await put('put', { network: 'n1' })).status).toBe(201)
    const rehearsed = await centre.admin('PUT', '/v1/clusters/put?dryRun=true', { region: 'r9' })
    expect(rehearsed).toMatchObject({ status: 200, body: { region: 'r9' } })
    const moved = { network: 'n1', region: 'r2', revision: 2 }
    expect(await put('put', { region: 'r2' })).toMatchObject({ status: 200, body: moved })
    expect(await put('put', { region: 'r2' })).toMatchObject({ status: 200, body: moved })
    expect(await centre.admin('GET', '/v1/clusters/put')).toMatchObject({ body: moved })
  })

  test('that has joined says which field its relay says otherwise', async () => {
    await new TestRelay(centre, 'said').join()
    expect((await put('said', { network: 'net-said', region: 'eu-1' })).status).toBe(200)
    const other = await put('said', { network: 'net-said', region: 'us-1' })
    expect(other).toMatchObject({ status: 409, body: { violations: [{ path: 'region' }] } })
    expect(other.body['detail']).toContain('its relay has joined with "eu-1"')
  })

  test('with If-Match of another revision is refused, and of none that is there', async () => {
    await put('match', { network: 'n1' })
    expect((await put('match', { network: 'n2' }, { 'if-match': '"7"' })).status).toBe(412)
    expect((await put('match', { network: 'n2' }, { 'if-match': '"1"' })).body).toMatchObject({ network: 'n2' })
    expect((await put('nobody', {}, { 'if-match': '"1"' })).status).toBe(404)
    expect((await centre.admin('GET', '/v1/clusters/nobody')).status).toBe(404)
  })
})
