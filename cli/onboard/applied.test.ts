import { describe, expect, test } from 'vitest'
import { isApplied } from '#cli/onboard/applied.ts'

const wanted = { spec: { replicas: 2, ports: [{ port: 80, protocol: 'TCP' }], verbs: ['get'], selector: {} } }
const live = (spec: object, fieldsV1?: object, manager = 'isthmus') => ({
  metadata: { managedFields: fieldsV1 ? [{ manager, operation: 'Apply', fieldsV1 }] : [] },
  spec: { ...wanted.spec, ...spec },
})
const port = 'k:{"port":80,"protocol":"TCP"}'
const own = {
  'f:spec': {
    'f:replicas': {},
    'f:ports': { [port]: { '.': {}, 'f:port': {}, 'f:protocol': {} } },
    'f:verbs': { 'v:"get"': {} },
  },
}

describe('an object is applied', () => {
  test.each([
    ['as it is', live({}, own)],
    [
      'with what the server adds',
      live({ ports: [{ port: 80, protocol: 'TCP', nodePort: 30_000 }], type: 'ClusterIP' }, own),
    ],
    ['with what others keep', live({}, { 'f:spec': { 'f:paused': {} } }, 'somebody')],
    ['made by others', live({})],
  ])('%s', (_, object) => {
    expect(isApplied(wanted, object)).toBe(true)
  })
})

describe('an object is not applied', () => {
  test.each([
    ['with another value', live({ replicas: 3 }, own)],
    ['without a value', live({ replicas: undefined }, own)],
    ['with one more in a list', live({ verbs: ['get', 'list'] }, own)],
    ['with a list in another order', live({ ports: [{ port: 443, protocol: 'TCP' }, ...wanted.spec.ports] }, own)],
    [
      'with a field of ours that is no longer wanted',
      live({ paused: true }, { 'f:spec': { ...own['f:spec'], 'f:paused': {} } }),
    ],
    [
      'with an element of ours that is no longer wanted',
      live({}, { 'f:spec': { 'f:ports': { 'k:{"port":443}': {} } } }),
    ],
    ['with a word of ours that is no longer wanted', live({}, { 'f:spec': { 'f:verbs': { 'v:"list"': {} } } })],
  ])('%s', (_, object) => {
    expect(isApplied(wanted, object)).toBe(false)
  })
})
