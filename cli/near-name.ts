import { labelFault } from '#mesh/model/id.ts'

/** `command` with the name that was probably meant, one DNS label (`EU_West.1` → `eu-west-1`); its help where the name is one already. */
export function withNearName(command: string, name: string): string {
  const near = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '')
  return near === '' || labelFault(name) === undefined ? `${command} --help` : `${command} ${near}`
}
