import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { type KubeObject, labelsOf } from '#cli/onboard/manifests/object.ts'

/** Beside the programs in an image as well. */
const directory = join(import.meta.dirname, '../../../infra/crds')
const files = ['globaltrafficpolicies', 'samenessgroups', 'serviceexports', 'serviceimports'] as const

/** The kinds of objects that the relay reads and writes beside Kubernetes' own: ours, and those of the MCS API. */
export const buildDefinitions = (): readonly KubeObject[] =>
  files.map((name) => {
    const object = parse(readFileSync(join(directory, `${name}.yaml`), 'utf8')) as KubeObject
    return { ...object, metadata: { ...object.metadata, labels: labelsOf('definitions') } }
  })
