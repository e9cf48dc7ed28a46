import type { Command } from 'commander'
import { refusal } from '#cli/failure.ts'
import { exitCodeOf, type Finding, type Result } from '#cli/onboard/check/check.ts'
import { openCluster } from '#cli/onboard/open-cluster.ts'
import {
  type AccessOptions,
  accessOptions,
  type EksOptions,
  eksLookOptions,
  eksRegionOption,
} from '#cli/onboard/options.ts'
import { harmless, render, wrapped } from '#cli/output.ts'
import type { Tone } from '#cli/paint.ts'
import { outputOption, type Shape, type Tools } from '#cli/tools.ts'
import { typeable } from '#mesh/model/failure-text.ts'

type CheckOptions = AccessOptions & EksOptions & Shape & { readonly pre?: boolean }

/** `check`: what is wrong with a Kubernetes cluster, and how to mend it. */
export function checkCommand(program: Command, tools: Tools): void {
  const check = program
    .command('check')
    .description('what is wrong with a Kubernetes cluster, before it joins or as a member, and what mends it')
    .helpGroup('To see:')
    .argument('[cluster]', 'its name in the mesh; another one is refused')
  for (const option of [...accessOptions(), ...eksLookOptions(), eksRegionOption()]) check.addOption(option)
  check
    .option('--pre', 'only what must be well before it joins')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nEach check says what it looked at, what it found, why that matters and what mends it. It reads, and writes' +
        '\nnothing. Exit code: 0 nothing fails, 1 something fails, 2 nothing fails and something could not be looked at.',
    )
    .action(async (cluster: string | undefined, { pre = false, output, ...access }: CheckOptions) => {
      const { runChecks } = await import('#cli/onboard/check/checks.ts')
      const { api } = await openCluster(access, tools, () => undefined)
      const { facts, findings } = await runChecks({ api, centre: tools.centre, now: tools.io.now, pre })
      const { installed } = facts.kube
      const found = 'value' in installed ? installed.value?.cluster : undefined
      if (cluster !== undefined && found !== undefined && cluster !== found)
        throw refusal({
          ...{ kind: 'conflict', why: `${api.said} is cluster "${found}", not "${cluster}"`, on: api.said },
          mend: 'name another --context',
        })
      tools.exitWith(exitCodeOf(findings))
      if (output === 'table') tools.print(textOf(findings, tools))
      else
        tools.print(
          render({ rows: [{ cluster: found ?? null, checks: findings }], columns: [], single: true }, output, 0),
        )
    })
}

const words: Readonly<Record<Result, string>> = { ok: 'ok', warn: 'WARN', fail: 'FAIL', unknown: 'not known' }
const tones: Readonly<Record<Result, Tone>> = { ok: 'good', warn: 'slow', fail: 'bad', unknown: 'slow' }

/** A line each; of what is not well, also why it matters and what mends it. */
export function textOf(findings: readonly Finding[], { paint, io }: Pick<Tools, 'paint' | 'io'>): string {
  const width = Math.max(...findings.map(({ id }) => id.length))
  const lines = findings.flatMap(({ id, result, found, looksAt, why, fix }) => {
    const indent = ' '.repeat(width + 14)
    const line = (text: string) => `${wrapped(harmless(`${indent}${text}`), io.columns ?? 160, indent)}\n`
    const head = `${id.padEnd(width)}  ${paint(tones[result], words[result].padEnd(9))}   ${harmless(typeable(found))}\n`
    if (result === 'ok' || result === 'unknown') return [head]
    return [
      head,
      line(`looked at: ${looksAt}`),
      line(`why: ${why}`),
      ...(fix ? [line(`to mend it: ${typeable(fix)}`)] : []),
    ]
  })
  const count = (result: Result): string => {
    const many = findings.filter((one) => one.result === result).length
    return many === 0 ? '' : `, ${many} ${words[result].toLowerCase()}`
  }
  const good = findings.filter(({ result }) => result === 'ok').length
  return `${lines.join('')}\n${findings.length} checks: ${good} ok${count('warn')}${count('fail')}${count('unknown')}\n`
}
