import type { Command } from 'commander'
import { callCentre } from '#cli/call-centre.ts'
import { joinCommand, leaveCommand } from '#cli/commands/onboard.ts'
import type { Centre } from '#cli/context.ts'
import { placed } from '#cli/failure.ts'
import { withNearName } from '#cli/near-name.ts'
import { cell, type Format, type Row, render } from '#cli/output.ts'
import { sandboxSocket } from '#cli/sandbox.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** `cluster create|delete` and `token create`: how a cluster comes and goes. */
export function clusterCommands(program: Command, tools: Tools): void {
  const cluster = program
    .command('cluster')
    .description('member clusters: join, leave, create, delete')
    .helpGroup('To change:')
  cluster
    .command('create')
    .description('registers a cluster; a token then lets its relay join')
    .argument('<name>', 'one DNS label, e.g. paris-1')
    .option('--region <region>', 'region, e.g. eu-west-1')
    .option(
      '--network <network>',
      'network; clusters of one network reach each other’s pods (default: as its relay’s settings say)',
    )
    .option(
      '--trust-domain <domain>',
      'one that clusters of a mesh of before share: nothing confines them then (default: as this mesh began)',
    )
    .action(async (name: string, options: { region?: string; network?: string; trustDomain?: string }) => {
      const call = { method: 'POST', path: '/v1/clusters', body: { name, ...options } }
      await mended(tools.centre(), call, {
        conflict: `isthmus get clusters ${name}`,
        invalid: withNearName('isthmus cluster create', name),
      })
      tools.print(`Cluster ${name} is registered. Next:\n  ${self} token create ${name}\n`)
    })
  cluster
    .command('delete')
    .description('removes a cluster from the mesh: its credentials are void at once, its exports withdrawn')
    .argument('<name>')
    .action(async (name: string) => {
      const call = { method: 'DELETE', path: `/v1/clusters/${encodeURIComponent(name)}` }
      await mended(tools.centre(), call, { 'not-found': 'isthmus get clusters' })
      tools.print(`Cluster ${name} is removed: its relay and its exports are refused from now on.\n`)
    })

  joinCommand(cluster, tools)
  leaveCommand(cluster, tools)

  program
    .command('token')
    .description('join tokens: create')
    .helpGroup('To change:')
    .command('create')
    .description('makes a single-use join token, good for one hour, and prints the next command')
    .argument('<cluster>')
    .addOption(outputOption())
    .option('--dir <directory>', 'the directory of the cluster’s relay (default: ./<cluster>)')
    .action(async (name: string, options: { output: Format; dir?: string }) => {
      const isSandbox = sandboxSocket(tools.target(), tools.io.env) !== undefined
      // There is nobody else who would have to know of it first.
      if (isSandbox) await announce(tools.centre(), name)
      const call = { method: 'POST', path: `/v1/clusters/${encodeURIComponent(name)}/join-tokens`, body: {} }
      const answer = await mended(tools.centre(), call, {
        'not-found': `isthmus cluster create ${name}`,
        conflict: `isthmus cluster create ${name}`,
      })
      const made = answer.body as Row
      if (options.output === 'table' && isSandbox && options.dir === undefined) {
        const { context } = tools.target()
        const words = context === undefined ? '' : `--context ${context} `
        tools.print(`${self} ${words}sandbox add ${name} --token ${cell(made['token'])}\n`)
      } else if (options.output === 'table')
        tools.print(`${self} relay --dir ${shellWord(options.dir ?? `./${name}`)} --join ${cell(made['token'])}\n`)
      else tools.print(render({ rows: [made], columns: [], single: true }, options.output, tools.io.now()))
    })
}

/** Registers a cluster where it is not yet. */
async function announce(centre: Centre, name: string): Promise<void> {
  const call = { method: 'POST', path: '/v1/clusters', body: { name } }
  await mended(centre, call, { invalid: withNearName('isthmus token create', name) }).catch((error: unknown) => {
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error
  })
}

/** Calls the centre; a refusal of a kind is mended by the command beside it. */
export async function mended(
  centre: Centre,
  call: Parameters<typeof callCentre>[1],
  mends: Partial<Readonly<Record<ProblemKind, string>>>,
): ReturnType<typeof callCentre> {
  try {
    return await callCentre(centre, call)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const mend = mends[error.kind]
    throw placed(error, mend === undefined ? {} : { mend })
  }
}
