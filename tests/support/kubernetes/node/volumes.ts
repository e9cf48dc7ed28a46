import {
  chmodSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type {
  V1Container,
  V1DownwardAPIVolumeFile,
  V1KeyToPath,
  V1ServiceAccountTokenProjection,
  V1Volume,
} from '@kubernetes/client-node'
import type { Mount } from '#tests/support/kubernetes/node/container.ts'
import { type Facts, fieldOf, NotYet } from '#tests/support/kubernetes/node/environment.ts'

export type VolumeParts = {
  readonly facts: Facts
  readonly dir: string
  /** A token of the pod's service account, as long as the same one may be used. */
  readonly token: (asked: V1ServiceAccountTokenProjection) => Promise<string>
}

type Files = Readonly<Record<string, Buffer>>

/** The volumes of one pod, as folders. */
export type Volumes = {
  /** Writes what has changed: as Kubernetes does, all files of a volume at once. Throws `NotYet`. */
  write(): Promise<void>
  mountsOf(container: V1Container): Mount[]
}

export function volumesOf(volumes: readonly V1Volume[], parts: VolumeParts): Volumes {
  const written = new Map<string, string>()
  const dirOf = (volume: V1Volume): string => volume.hostPath?.path ?? join(parts.dir, volume.name)
  let turn = 0
  return {
    write: async () => {
      for (const volume of volumes) {
        const dir = dirOf(volume)
        if (volume.hostPath) continue
        mkdirSync(dir, { recursive: true })
        if (volume.emptyDir) {
          if (!written.has(volume.name)) chmodSync(dir, 0o777)
          written.set(volume.name, '')
          continue
        }
        const files = await filesOf(volume, parts)
        const said = JSON.stringify(Object.entries(files).map(([path, data]) => [path, data.toString('base64')]))
        if (written.get(volume.name) === said) continue
        replace(dir, files, `..${++turn}`)
        written.set(volume.name, said)
      }
    },
    mountsOf: ({ volumeMounts = [] }) =>
      volumeMounts.map(({ name, mountPath, subPath, readOnly }) => {
        const volume = volumes.find((one) => one.name === name)
        if (!volume) throw new Error(`the pod has no volume "${name}"`)
        const from = subPath === undefined ? dirOf(volume) : realpathSync(join(dirOf(volume), subPath))
        // Nobody but the node writes what comes from the API server.
        const isKept = volume.emptyDir !== undefined || volume.hostPath !== undefined
        return { from, to: mountPath, readOnly: !isKept || readOnly === true }
      }),
  }
}

async function filesOf(volume: V1Volume, parts: VolumeParts): Promise<Files> {
  const { configMap, secret, projected, downwardAPI } = volume
  if (projected)
    return Object.assign(
      {},
      ...(await Promise.all(
        (projected.sources ?? []).map(async (source) => {
          if (source.serviceAccountToken)
            return { [source.serviceAccountToken.path]: Buffer.from(await parts.token(source.serviceAccountToken)) }
          const { configMap: config, secret: hidden, downwardAPI: down } = source
          if (config) return configFiles(config, parts)
          return hidden ? secretFiles(hidden, parts) : downFiles(down?.items, parts)
        }),
      )),
    )
  if (configMap) return configFiles(configMap, parts)
  if (secret) return secretFiles({ ...secret, name: secret.secretName ?? '' }, parts)
  if (downwardAPI) return downFiles(downwardAPI.items, parts)
  throw new Error(`the test kubelet knows no volume like "${volume.name}"`)
}

type Keyed = { readonly name?: string; readonly items?: V1KeyToPath[]; readonly optional?: boolean }

function configFiles({ name = '', items, optional }: Keyed, { facts }: VolumeParts): Files {
  const { data = {}, binaryData = {} } = facts.configMap(name) ?? absent(`the ConfigMap ${name}`, optional)
  return picked(
    {
      ...Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text)])),
      ...Object.fromEntries(Object.entries(binaryData).map(([key, text]) => [key, Buffer.from(text, 'base64')])),
    },
    items,
  )
}

function secretFiles({ name = '', items, optional }: Keyed, { facts }: VolumeParts): Files {
  const { data = {} } = facts.secret(name) ?? absent(`the Secret ${name}`, optional)
  const all = Object.entries(data).map(([key, text]) => [key, Buffer.from(text, 'base64')] as const)
  return picked(Object.fromEntries(all), items)
}

type Data = { readonly data?: Record<string, string>; readonly binaryData?: Record<string, string> }

function absent(what: string, optional: boolean | undefined): Data {
  if (optional) return {}
  throw new NotYet(`${what} is not there`)
}

function downFiles(items: readonly V1DownwardAPIVolumeFile[] = [], { facts }: VolumeParts): Files {
  return Object.fromEntries(
    items.map(({ path, fieldRef }) => [path, Buffer.from(fieldRef ? fieldOf(fieldRef.fieldPath, facts) : '1')]),
  )
}

function picked(all: Files, items: readonly V1KeyToPath[] | undefined): Files {
  if (!items) return all
  return Object.fromEntries(
    items.flatMap(({ key, path }) => {
      const data = all[key]
      return data === undefined ? [] : [[path, data]]
    }),
  )
}

/** By a link `..data` that is moved: whoever reads sees all of the old files or all of the new ones. */
function replace(dir: string, files: Files, version: string): void {
  const old = readdirSync(dir).filter((name) => /^\.\.\d+$/.test(name))
  for (const [path, data] of Object.entries(files)) {
    const target = join(dir, version, path)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, data)
  }
  mkdirSync(join(dir, version), { recursive: true })
  symlinkSync(version, join(dir, '..next'))
  renameSync(join(dir, '..next'), join(dir, '..data'))
  const tops = new Set(Object.keys(files).map((path) => path.split('/')[0] ?? ''))
  const there = readdirSync(dir).filter((name) => !name.startsWith('..'))
  for (const name of there) if (!tops.has(name)) unlinkSync(join(dir, name))
  for (const name of tops) if (!there.includes(name)) symlinkSync(join('..data', name), join(dir, name))
  for (const name of old) rmSync(join(dir, name), { recursive: true })
}
