import { existsSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '#cli/make-directory.ts'
import { addedFile } from './added-clusters.ts'
import { type SandboxPlan, settings } from './plan.ts'
import { replaceFile } from './replace-file.ts'

/** What a fleet is made of; `--fresh` removes exactly these. */
const fleet = ['centre', 'clusters', 'logs', 'addresses.json', addedFile]

/** The centre's database, and all logs at their largest. */
const megabytesMin = 200

/**
 * Makes the sandbox's directory. Throws where there is no room for it, and where it holds anything that no sandbox
 * wrote: `--fresh` would remove it one day.
 */
export function openDirectory(dir: string): void {
  makeDirectory(dir)
  const { bavail, bsize } = statfsSync(dir)
  const megabytes = Math.floor((bavail * bsize) / 1024 ** 2)
  if (megabytes < megabytesMin)
    throw new Error(
      `${dir}: its disk has ${megabytes} MB left and a sandbox needs ${megabytesMin}: make room, or set ISTHMUS_SANDBOX ` +
        'to a directory elsewhere',
    )
  const strange = readdirSync(dir).find((name) => !fleet.includes(name) && !name.startsWith('running.json'))
  if (strange === undefined) return
  throw new Error(`${dir} is no sandbox (there is ${strange}): set ISTHMUS_SANDBOX to a new or an empty directory`)
}

export function emptyDirectory(dir: string): void {
  for (const part of fleet) rmSync(join(dir, part), { recursive: true, force: true })
}

const addressesOf = (plan: SandboxPlan): Readonly<Record<string, number>> => ({
  [settings.firstOctet.variable]: plan.clusters[0]?.octet ?? 0,
  [settings.centrePort.variable]: plan.centre.port,
})
const addressesPath = (plan: SandboxPlan) => join(plan.dir, 'addresses.json')

/** Remembers the addresses that a fleet is made for: they stand in its clusters' settings and in its relays' state. */
export function rememberAddresses(plan: SandboxPlan): void {
  replaceFile(addressesPath(plan), JSON.stringify(addressesOf(plan)))
}

/** Throws what to do instead where the fleet in the directory was made for other addresses. */
export function refuseOtherAddresses(plan: SandboxPlan): void {
  if (!existsSync(addressesPath(plan))) return
  const made = JSON.parse(readFileSync(addressesPath(plan), 'utf8')) as Record<string, number>
  const moved = Object.entries(addressesOf(plan)).filter(([variable, value]) => made[variable] !== value)
  if (moved.length === 0) return
  const as = moved.map(([variable]) => `${variable}=${made[variable]}`).join(' and ')
  throw new Error(
    `the fleet in ${plan.dir} was made with ${as}: start it with that, begin anew with --fresh, or make another fleet by ` +
      `setting ${settings.directory.variable} to a new directory`,
  )
}
