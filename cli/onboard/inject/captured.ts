import { isIP } from 'node:net'
import { openPorts } from '#cli/onboard/inject/settings.ts'

const of = (name: string): string => `traffic.sidecar.istio.io/${name}`

/** Istio's annotations that say what is redirected, each with the flag of the program that installs the redirection. */
const annotations = {
  [of('includeInboundPorts')]: { flag: '--include-inbound-ports', isGood: ports('*'), like: 'ports as 80,8080, or *' },
  [of('excludeInboundPorts')]: { flag: '--exclude-inbound-ports', isGood: ports(), like: 'ports as 80,8080' },
  [of('includeOutboundIPRanges')]: { flag: '--include-outbound-ranges', isGood: ranges('*'), like: 'CIDRs, or *' },
  [of('excludeOutboundIPRanges')]: { flag: '--exclude-outbound-ranges', isGood: ranges(), like: 'CIDRs: 10.0.0.0/8' },
  [of('includeOutboundPorts')]: { flag: '--include-outbound-ports', isGood: ports(), like: 'ports as 80,8080' },
  [of('excludeOutboundPorts')]: { flag: '--exclude-outbound-ports', isGood: ports(), like: 'ports as 80,8080' },
} as const

export type Captured = { readonly flags: readonly string[]; readonly faults: readonly string[] }

/**
 * What a pod's annotations say of the redirection, as flags of `isthmus redirect`, and what is wrong with them. An
 * annotation of that family that is not known is a fault: what it keeps out would else be redirected.
 * Source: istio.io, resource annotations.
 */
export function capturedBy(said: Readonly<Record<string, unknown>>): Captured {
  const all = Object.entries(said).filter(([name]) => name.startsWith(of('')))
  const faults = all.flatMap(([name, value]) => {
    const known = Object.entries(annotations).find(([one]) => one === name)?.[1]
    if (known === undefined)
      return [`the annotation ${name} is not supported; known: ${Object.keys(annotations).join(', ')}`]
    return typeof value === 'string' && known.isGood(value)
      ? []
      : [`the annotation ${name} is ${JSON.stringify(value)}; give ${known.like}`]
  })
  const listSaid = (name: string): string | undefined =>
    typeof said[name] === 'string' ? listOf(said[name]).join(',') : undefined
  const flags = Object.entries(annotations).flatMap(([name, { flag }]) => {
    const value = listSaid(name)
    if (flag === '--exclude-inbound-ports') {
      const ports = new Set([...openPorts, ...listOf(value ?? '').map(Number)])
      return [`${flag}=${[...ports].toSorted((a, b) => a - b).join(',')}`]
    }
    return value === undefined ? [] : [`${flag}=${value}`]
  })
  return { flags, faults }
}

const listOf = (text: string): readonly string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')

function ports(every?: '*') {
  return (text: string): boolean =>
    text === every || listOf(text).every((one) => /^[0-9]{1,5}$/.test(one) && Number(one) >= 1 && Number(one) <= 65_535)
}

function ranges(every?: '*') {
  return (text: string): boolean => text === every || listOf(text).every(isRange)
}

function isRange(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/')
  const family = isIP(address)
  return family !== 0 && more.length === 0 && /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}
