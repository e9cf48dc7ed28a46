import { isIP } from 'node:net'
import { flagOf, settingRows, variableOf } from '#gateway/proxy/setting-rows.ts'
import { labelFault } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'

export type HostPort = { readonly host: string; readonly port: number }

/** Raw settings by name: text from flags and the environment, any JSON value from the file. */
export type RawSettings = Readonly<Record<string, unknown>>

/**
 * Reads settings one by one and collects what is wrong with them, so that one start names everything. Each reader gives
 * back something of its type even for a bad value: `done` throws `invalid` before anybody can use it.
 */
export function settingReader(raw: RawSettings) {
  const violations: Violation[] = []
  const fail = (name: string, reason: string): void => {
    const row = settingRows[name]
    const where = row ? ` (${flagOf(name)}, ${variableOf(name)}, or "${name}" in the settings file: ${row.help})` : ''
    violations.push({ path: name, reason: `${reason}${where}` })
  }
  const text = (name: string): string => {
    const value = raw[name] ?? settingRows[name]?.standard ?? ''
    if (value === '' && settingRows[name]?.need) fail(name, 'is missing')
    if (typeof value === 'string' || typeof value === 'number') return String(value)
    fail(name, `must be text, not ${Array.isArray(value) ? 'a list' : typeof value}`)
    return ''
  }
  /** Absent is ''; anything else must pass `fault`. */
  const checked = (name: string, fault: (value: string) => string | undefined): string => {
    const value = text(name)
    const found = value === '' ? undefined : fault(value)
    if (found) fail(name, `"${value}" ${found}`)
    return value
  }
  return {
    fail,
    text,
    label: (name: string) => checked(name, labelFault),
    dotted: (name: string) => checked(name, dottedFault),
    ip: (name: string) => checked(name, ipFault),
    hostPort: (name: string): HostPort =>
      hostPortOf(checked(name, (value) => (hostPortOf(value) ? undefined : 'is not host:port'))) ?? {
        host: '',
        port: 0,
      },
    oneOf: <T extends string>(name: string, allowed: readonly [T, ...T[]]): T => {
      const value = text(name)
      const found = allowed.find((one) => one === value)
      if (!found) fail(name, `"${value}" is not one of ${allowed.join(', ')}`)
      return found ?? allowed[0]
    },
    count: (name: string, min: number, max: number): number => {
      const value = text(name)
      const found = /^[0-9]{1,9}$/.test(value) ? Number(value) : Number.NaN
      if (!(found >= min && found <= max)) fail(name, `"${value}" is not a whole number from ${min} to ${max}`)
      return found
    },
    /** At least one address: the first is given back by itself. */
    ips: (name: string): readonly [string, ...string[]] => {
      const [first = '', ...others] = listOf(raw[name])
      if (first === '') fail(name, 'is missing')
      for (const one of [first, ...others]) if (one !== '' && ipFault(one)) fail(name, `"${one}" ${ipFault(one)}`)
      return [first, ...others]
    },
    table: (name: string): Readonly<Record<string, string>> => {
      const found = tableOf(raw[name] ?? '')
      if (!found) fail(name, 'is not a table: write key=value,key=value, or an object of texts in the file')
      return found ?? {}
    },
    /** Throws `invalid` with every violation, those about unknown names included. */
    done: (): void => {
      const strangers = Object.keys(raw).filter((name) => !(name in settingRows))
      for (const name of strangers) fail(name, `is no setting; known: ${Object.keys(settingRows).join(', ')}`)
      if (violations.length === 0) return
      const [first, ...others] = violations
      const names = [...new Set(violations.map(({ path }) => path))].join(', ')
      const why =
        others.length === 0 ? `the setting ${first?.path} ${first?.reason}` : `its settings are not valid: ${names}`
      throw new Problem('invalid', why, { violations, extra: { mend: 'isthmus proxy --help' } })
    },
  }
}

export type SettingReader = ReturnType<typeof settingReader>

const ipFault = (value: string): string | undefined => (isIP(value) === 0 ? 'is not an IP address' : undefined)

const dottedFault = (value: string): string | undefined =>
  value.length <= 253 && value.split('.').every((part) => labelFault(part) === undefined)
    ? undefined
    : 'is not a Kubernetes name: DNS labels joined by dots'

/** `host:port`, `1.2.3.4:port` or `[::1]:port`; undefined for anything else. */
export function hostPortOf(text: string): HostPort | undefined {
  const [, bracketed, plain, digits] = text.match(/^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):([0-9]{1,5})$/) ?? []
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  const hostFault = bracketed === undefined && isIP(host) === 0 ? dottedFault(host) : ipFault(host)
  return hostFault === undefined && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

const listOf = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value.map(String) : typeof value === 'string' ? value.split(',') : [])
    .map((one) => one.trim())
    .filter((one) => one !== '')

function tableOf(value: unknown): Readonly<Record<string, string>> | undefined {
  if (typeof value !== 'string') {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined
    const pairs = Object.entries(value)
    return pairs.every(([, one]) => typeof one === 'string') ? Object.fromEntries(pairs) : undefined
  }
  const pairs = value.split(',').flatMap((pair) => (pair === '' ? [] : [pair.match(/^([^=]+)=(.*)$/)]))
  const whole = pairs.filter((pair) => pair !== null)
  return whole.length === pairs.length ? Object.fromEntries(whole.map(([, key, one]) => [key, one])) : undefined
}
