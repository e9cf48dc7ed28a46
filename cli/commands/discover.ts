import { type Command, InvalidArgumentError } from 'commander'
import { isAway } from '#cli/ask-relays.ts'
import { listAll } from '#cli/call-centre.ts'
import { discoverEks, type RegionSeen } from '#cli/onboard/eks/discover-eks.ts'
import { type DiscoveredCluster, discoveredOf, type MemberFact } from '#cli/onboard/eks/discovered.ts'
import { type Column, cell, type Format, render } from '#cli/output.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { typeable } from '#mesh/model/failure-text.ts'
import { Problem } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

type DiscoverOptions = {
  readonly region: readonly string[]
  readonly tag?: Readonly<Record<string, string>>
  readonly profile?: string
  readonly output: Format
}

/** `discover eks`: the clusters of an AWS account, member or not. */
export function discoverCommands(program: Command, tools: Tools): void {
  program
    .command('discover')
    .description('clusters that could join: eks')
    .helpGroup('To see:')
    .command('eks')
    .description('EKS clusters of AWS regions: members or not, their networks, and how each joins')
    .requiredOption('--region <regions...>', 'regions, e.g. eu-west-1 us-east-1')
    .option('--tag <key=value...>', 'only clusters with these tags', tagsFrom)
    .option('--profile <name>', 'a profile of the AWS configuration (default: as AWS’s tools choose)')
    .addOption(outputOption())
    .addHelpText('after', help)
    .action(async ({ region, tag, profile, output }: DiscoverOptions) => {
      const { env } = tools.io
      const regions = [...new Set(region)]
      const found = await discoverEks({ regions, tags: tag ?? {}, profile, env })
      const more = profile === undefined ? '' : ` --profile ${shellWord(profile)}`
      const seen = found.flatMap(({ clusters }) => clusters)
      const members = await membersOf(tools)
      const clusters = discoveredOf(seen, members, more)
      for (const { problem } of found) if (problem) tools.complain(problem)
      if (clusters.some(({ unknown }) => unknown.length > 0)) tools.exitWith(1)
      if (output !== 'table') return tools.print(rawText(found, clusters, output))
      tools.print(
        render(
          { rows: clusters, single: false, columns, none: noneText(found), below: below(clusters, members ?? []) },
          output,
          tools.io.now(),
          tools.paint,
        ),
      )
    })
}

const help = `
Needs eks:ListClusters and eks:DescribeCluster, and ec2:DescribeVpcs for addresses. A region that does not
answer is told apart: its clusters are not known, which is not the same as none. Exit code 1 where
something is not known.`

function tagsFrom(said: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(said) ?? []
  if (key === undefined || value === undefined) throw new InvalidArgumentError('Write it as key=value.')
  return { ...before, [key]: value }
}

/** Undefined where nobody could say: then who is a member is not known. */
async function membersOf(tools: Tools): Promise<readonly MemberFact[] | undefined> {
  try {
    const rows = await listAll(tools.centre(), '/v1/clusters')
    return rows.map((row) => ({
      ...{ name: String(row['name']), state: String(row['state']) },
      ...{ region: String(row['region'] ?? ''), network: String(row['network'] ?? '') },
    }))
  } catch (error) {
    if (!isAway(error) && !(error instanceof Problem)) throw error
    tools.complain(error)
    return undefined
  }
}

/** What programs read: regions that failed beside the clusters, so that nobody takes silence for none. */
function rawText(found: readonly RegionSeen[], clusters: readonly DiscoveredCluster[], output: Format): string {
  const regions = found.map(({ region, problem }) => ({
    region,
    ...(problem === undefined ? { read: true } : { read: false, kind: problem.kind, why: problem.message }),
  }))
  return render({ rows: [{ regions, clusters }], columns: [], single: true }, output, 0)
}

const of =
  (text: (one: DiscoveredCluster) => string): Column[1] =>
  (row) =>
    text(row as DiscoveredCluster)

const columns: readonly Column[] = [
  ['NAME', of(({ name }) => name)],
  ['REGION', of(({ region }) => region)],
  ['VERSION', of(({ version }) => cell(version))],
  ['STATUS', of(({ status }) => status ?? 'not known')],
  ['MEMBER', of(({ member, cluster }) => (['no', 'unknown'].includes(member) ? member : `${member} (${cluster})`))],
  ['NETWORK', of(({ network }) => cell(network))],
  ['ADDRESSES', of(({ cidrs }) => cell(cidrs ?? 'not known'))],
  ['OVERLAPS WITH', of(overlapsText)],
]

function overlapsText({ overlaps }: DiscoveredCluster): string {
  return cell([...new Set(overlaps.map(({ cluster, member }) => `${cluster}${member ? ' (member)' : ''}`))])
}

const noneText = (found: readonly RegionSeen[]): string => {
  const read = found.filter(({ problem }) => problem === undefined).map(({ region }) => region)
  return read.length === 0 ? '' : `There are none in ${read.join(', ')}.\n`
}

function below(clusters: readonly DiscoveredCluster[], members: readonly MemberFact[]): string {
  const elsewhere = members.filter(
    ({ name, state }) => state === 'joined' && !clusters.some(({ cluster }) => cluster === name),
  )
  const unknown = Map.groupBy(
    clusters.flatMap(({ name, region, unknown }) => unknown.map((why) => ({ who: `${name} (${region})`, why }))),
    ({ why }) => why,
  )
  const joins = clusters.flatMap(({ join }) => (join === undefined ? [] : [`  ${typeable(join)}\n`]))
  const overlap = clusters.some(({ overlaps }) => overlaps.length > 0)
  return [
    ...(unknown.size === 0 ? [] : ['\nNot known:\n']),
    ...[...unknown].map(([why, all]) => `  ${all.map(({ who }) => who).join(', ')}: ${why}\n`),
    ...(elsewhere.length === 0 || clusters.length === 0
      ? []
      : [`\nOf these members no addresses are known here: ${elsewhere.map(({ name }) => name).join(', ')}\n`]),
    ...(overlap ? ['\nAddresses that overlap: leave these clusters in networks of their own.\n'] : []),
    ...(joins.length === 0 ? [] : ['\nTo join:\n', ...joins]),
  ].join('')
}
