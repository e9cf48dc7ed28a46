import { isIP } from 'node:net'
import type { Captured } from '#gateway/redirect/rules.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'

const mend = 'isthmus redirect --help'

/** By flag: what it says, and whether `*` is a value of it. */
export const flagRows = {
  '--include-inbound-ports': { key: 'includeInboundPorts', of: 'ports', help: 'only these, or * for all (all)' },
  '--exclude-inbound-ports': { key: 'excludeInboundPorts', of: 'ports', help: 'not these' },
  '--include-outbound-ranges': { key: 'includeOutboundRanges', of: 'ranges', help: 'only to these CIDRs, or * (all)' },
  '--exclude-outbound-ranges': { key: 'excludeOutboundRanges', of: 'ranges', help: 'not to these CIDRs' },
  '--include-outbound-ports': { key: 'includeOutboundPorts', of: 'ports', help: 'these, wherever they lead to' },
  '--exclude-outbound-ports': { key: 'excludeOutboundPorts', of: 'ports', help: 'not to these' },
} as const

const isFlag = (text: string): text is keyof typeof flagRows => Object.hasOwn(flagRows, text)

/** What `--flag=a,b` say. Throws `invalid` with every fault. */
export function capturedFrom(argv: readonly string[]): Captured {
  const violations: Violation[] = []
  const fail = (path: string, reason: string): void => void violations.push({ path, reason })
  const said = new Map<string, string>()
  for (const word of argv) {
    const [, flag = word, value] = /^(--[^=]+)=(.*)$/s.exec(word) ?? []
    if (!isFlag(flag)) fail(word, 'is no flag')
    else if (value === undefined) fail(flag, `needs a value: ${flag}=…`)
    else said.set(flagRows[flag].key, value)
    if (isFlag(flag) && value !== undefined)
      for (const one of listOf(value, isAll(flag)))
        if (!(flagRows[flag].of === 'ports' ? isPort(one) : isRange(one)))
          fail(flag, `"${one}" is no ${flagRows[flag].of === 'ports' ? 'port' : 'CIDR'}`)
  }
  if (violations.length > 0)
    throw new Problem('invalid', 'what is to be redirected is not understood', { violations, extra: { mend } })
  const ports = (key: string): readonly number[] => listOf(said.get(key) ?? '').map(Number)
  const ranges = (key: string): readonly string[] => listOf(said.get(key) ?? '')
  const isSome = (key: string): boolean => said.has(key) && said.get(key) !== '*'
  return {
    ...(isSome('includeInboundPorts') ? { includeInboundPorts: ports('includeInboundPorts') } : {}),
    ...(isSome('includeOutboundRanges') ? { includeOutboundRanges: ranges('includeOutboundRanges') } : {}),
    excludeInboundPorts: ports('excludeInboundPorts'),
    excludeOutboundRanges: ranges('excludeOutboundRanges'),
    includeOutboundPorts: ports('includeOutboundPorts'),
    excludeOutboundPorts: ports('excludeOutboundPorts'),
  }
}

const isAll = (flag: string): boolean => ['--include-inbound-ports', '--include-outbound-ranges'].includes(flag)

const listOf = (text: string, mayBeAll = false): readonly string[] =>
  mayBeAll && text === '*' ? [] : text.split(',').filter((one) => one !== '')

const isPort = (text: string): boolean => /^[0-9]{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535

function isRange(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/')
  const family = isIP(address)
  return family !== 0 && more.length === 0 && /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}
