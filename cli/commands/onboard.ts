import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { refusal } from '#cli/failure.ts'
import type { JoinParts } from '#cli/onboard/join.ts'
import type { KubeObject } from '#cli/onboard/manifests/object.ts'
import type { JoinWish } from '#cli/onboard/manifests/settings-for.ts'
import { openCluster } from '#cli/onboard/open-cluster.ts'
import {
  type AccessOptions,
  accessOptions,
  type EksOptions,
  eksOptions,
  eksRegionOption,
  type GatewayOptions,
  gatewayOptions,
  type ImageOptions,
  imageOptions,
  imagesOf,
  type PlaceOptions,
  placeOptions,
  seconds,
  timeoutOption,
} from '#cli/onboard/options.ts'
import { sayer } from '#cli/onboard/steps.ts'
import { harmless } from '#cli/output.ts'
import type { Tools } from '#cli/tools.ts'
import { typeable } from '#mesh/model/failure-text.ts'

type ShapeOptions = ImageOptions & GatewayOptions & PlaceOptions
type JoinOptions = ShapeOptions & AccessOptions & EksOptions & { readonly dryRun?: boolean; readonly timeout: number }
type ManifestOptions = ShapeOptions & { readonly mesh?: string; readonly trustDomain?: string; readonly eks?: boolean }

/** `cluster join`: a Kubernetes cluster becomes a member. */
export function joinCommand(cluster: Command, tools: Tools): void {
  const join = cluster
    .command('join')
    .description('makes a Kubernetes cluster a member: installs relay and gateway, waits until they work')
    .argument('<name>', 'one DNS label, e.g. paris-1')
  const options = [
    ...accessOptions(),
    ...eksOptions(),
    ...placeOptions(' (default: as its nodes are labelled)'),
    ...imageOptions(),
  ]
  for (const option of [...options, ...gatewayOptions(), timeoutOption()]) join.addOption(option)
  join
    .option('--dry-run', 'looks, and prints as YAML what would be applied; writes nothing')
    .addHelpText('after', afterJoin)
    .action(async (name: string, options: JoinOptions) => {
      const { joinCluster, rehearseJoin } = await import('#cli/onboard/join.ts')
      const begun = performance.now()
      const parts = await partsOf(tools, wishOf(name, options, tools), options)
      if (options.dryRun) return tools.print(yamlOf(await rehearseJoin(parts)))
      const { writes } = await joinCluster(parts)
      await sayChecks(parts, tools)
      const took = `${Math.round((performance.now() - begun) / 1000)} s`
      tools.print(`${name} ${writes === 0 ? 'is a member, and nothing was to be changed' : 'has joined'} (${took}).\n`)
    })
}

const afterJoin =
  '\nIt may be repeated at any time: it goes on from where it was cut off and changes only what differs. What others have' +
  '\nwritten is never overwritten. The centre is chosen before the command: isthmus --context <name> cluster join …'

type LeaveOptions = AccessOptions &
  EksOptions & { readonly over: number; readonly grace: number; readonly force?: string }

/** `cluster leave`: a cluster goes, and others notice nothing. */
export function leaveCommand(cluster: Command, tools: Tools): void {
  const leave = cluster
    .command('leave')
    .alias('unjoin')
    .description('leads traffic away from a cluster, takes it out of the mesh and all of ours out of it')
    .argument('<name>')
  for (const option of [...accessOptions(), ...eksOptions(), eksRegionOption()]) leave.addOption(option)
  leave
    .option('--over <time>', 'how long the ramp to zero takes: 60s, 5m', seconds, 60)
    .option('--grace <time>', 'how long what is open then may live on', seconds, 60)
    .option('--force <name>', 'the cluster itself is gone: only the centre forgets it; its name once more')
    .addHelpText(
      'after',
      '\nUntil others have been measured to send nothing any more, it is taken back by: isthmus undrain cluster <name>' +
        '\nIt may be repeated at any time: it goes on from where it was cut off.',
    )
    .action(async (name: string, { over, grace, force, ...access }: LeaveOptions) => {
      const { forgetCluster, leaveCluster } = await import('#cli/onboard/leave.ts')
      const centre = tools.centre()
      if (force !== undefined) {
        await forgetCluster(centre, name, force)
        tools.print(`${name} is out of the mesh: its exports are withdrawn, its credentials are void.\n`)
        return
      }
      const say = sayer(tools.print)
      const { api } = await openCluster(access, tools, say)
      const times = { overSeconds: over, graceSeconds: grace }
      const { count, kept } = await leaveCluster({ api, centre, cluster: name, say, ...times })
      for (const one of kept) say('kept', one)
      tools.print(`${name} has left; ${count} objects of ours are removed from ${api.said}.\n`)
    })
}

/** `manifests`: what a join applies, for those who apply it by other means. */
export function manifestsCommand(program: Command, tools: Tools): void {
  const manifests = program
    .command('manifests')
    .description('prints as YAML all that a member cluster is given, for GitOps')
    .helpGroup('To change:')
    .argument('<cluster>', 'its name at the centre')
  for (const option of [...placeOptions(''), ...imageOptions(), ...gatewayOptions()]) manifests.addOption(option)
  manifests
    .option('--mesh <mesh>', 'name of the mesh (default: the centre is asked)')
    .option('--trust-domain <domain>', 'of the cluster (default: the centre is asked, or <cluster>.<mesh> with --mesh)')
    .option('--eks', 'its load balancer is one of AWS')
    .action(async (name: string, options: ManifestOptions) => {
      const [{ buildManifests }, { settingsFor, namesOf }] = await Promise.all([
        import('#cli/onboard/manifests/build.ts'),
        import('#cli/onboard/manifests/settings-for.ts'),
      ])
      const wish = wishOf(name, options, tools)
      const { region, network = name, mesh, trustDomain } = { ...wish, ...options }
      if (region === undefined)
        throw refusal({
          kind: 'invalid',
          why: 'its region is not said',
          on: `cluster ${name}`,
          mend: 'say it: --region <region>',
        })
      const names = await namesOf(tools.centre, { cluster: name, mesh, trustDomain })
      tools.print(yamlOf(buildManifests(settingsFor(wish, { region, network, isEks: options.eks === true, ...names }))))
    })
}

function wishOf(cluster: string, options: ShapeOptions, tools: Tools): JoinWish {
  const { region, network, clusterSetCidr } = options
  return {
    cluster,
    ...(region === undefined ? {} : { region }),
    ...(network === undefined ? {} : { network }),
    ...(clusterSetCidr === undefined ? {} : { clusterSetCidr }),
    images: imagesOf(options, tools.io.env),
    addresses: options.gatewayAddress ?? [],
    gatewayReplicas: options.gatewayReplicas,
    isPublic: options.publicGateway === true,
  }
}

/** What is not well there, beside what a join waits for. */
async function sayChecks({ api, say }: JoinParts, tools: Tools): Promise<void> {
  const { runChecks } = await import('#cli/onboard/check/checks.ts')
  const { findings } = await runChecks({ api, centre: tools.centre, now: tools.io.now, pre: false })
  const good = findings.filter(({ result }) => result === 'ok').length
  say('check', `${good} of ${findings.length} are well`)
  for (const { id, result, found, fix } of findings)
    if (result === 'warn' || result === 'fail')
      say('check', harmless(typeable(`${id}: ${found}${fix === undefined ? '' : `; to mend it: ${fix}`}`)))
}

async function partsOf(tools: Tools, wish: JoinWish, options: JoinOptions): Promise<JoinParts> {
  const { io } = tools
  // What --dry-run prints is YAML and nothing else.
  const say = sayer(options.dryRun ? io.err : tools.print)
  const centre = tools.centre()
  const { api, network } = await openCluster(options, tools, say)
  return {
    ...{ centre, api, clock: io.now, say, isEks: options.eks !== undefined },
    wish: { ...(network === undefined ? {} : { network }), ...wish },
    ...{ now: () => performance.now(), pause: (ms) => pause(ms), timeoutMs: options.timeout * 1000 },
  }
}

const yamlOf = (objects: readonly KubeObject[]): string =>
  objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n')
