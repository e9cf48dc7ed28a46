import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { parseClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { ClusterPlan, SandboxPlan } from './plan.ts'
import { replaceFile } from './replace-file.ts'

/** More than these and a machine for a trial is no fun any more. */
export const clustersMax = 8

/** File of a fleet's directory that names what was added to it, so that the next start has it again. */
export const addedFile = 'added.json'

const schema = z.array(
  z.object({ name: z.string(), region: z.string(), octet: z.number().int().min(2).max(254) }).readonly(),
)
type Added = z.infer<typeof schema>[number]

/** The plan with the clusters that were added to its fleet in earlier runs. Throws where the file is damaged. */
export function withAdded(plan: SandboxPlan): SandboxPlan {
  const added = load(plan).map((one) => planOf(plan, one))
  return { ...plan, clusters: [...plan.clusters, ...added] }
}

/**
 * One more cluster on the next free block of addresses: productpage and details, so that what it shows of reviews comes
 * from the others. Throws `invalid` where the name is none, and `conflict` where it is there or there are too many.
 */
export function planAdded(plan: SandboxPlan, clusters: readonly ClusterPlan[], name: string, region: string) {
  const parsed = parseClusterName(name)
  if (clusters.some((one) => one.name === parsed))
    throw new Problem(
      'conflict',
      `cluster ${parsed} is in this sandbox already: see isthmus status, or add another name`,
    )
  const octet = Math.max(...clusters.map((one) => one.octet)) + 1
  if (clusters.length >= clustersMax || octet > 254)
    throw new Problem('conflict', `the sandbox has ${clusters.length} clusters, and takes no more on one machine`)
  return planOf(plan, { name: parsed, region, octet })
}

/** Remembers which clusters the fleet has beside the three that every one begins with. */
export function saveAdded(plan: SandboxPlan, clusters: readonly ClusterPlan[]): void {
  const first = new Set(plan.clusters.map(({ name }) => name))
  const added = clusters.filter(({ name }) => !first.has(name))
  const rows = added.map(({ name, region, octet }): Added => ({ name, region, octet }))
  replaceFile(join(plan.dir, addedFile), JSON.stringify([...load(plan).filter(isNot(rows)), ...rows]))
}

const isNot = (rows: readonly Added[]) => (one: Added) => !rows.some(({ name }) => name === one.name)

function load(plan: SandboxPlan): readonly Added[] {
  const path = join(plan.dir, addedFile)
  if (!existsSync(path)) return []
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new Error(`${path} is damaged: begin anew with --fresh, or remove it (then clusters that were added rest)`, {
      cause,
    })
  }
}

const planOf = (plan: SandboxPlan, { name, region, octet }: Added): ClusterPlan => ({
  ...{ name, region, zone: `${region}a`, network: name, octet },
  dir: join(plan.dir, 'clusters', name),
  pods: [
    ['productpage', 'v1'],
    ['details', 'v1'],
  ],
})
