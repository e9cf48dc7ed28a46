import { type Command, Option } from 'commander'
import { changedText } from '#cli/onboard/inject/inject-text.ts'
import { isOptedOut } from '#cli/onboard/inject/pod-faults.ts'
import { readManifest } from '#cli/onboard/inject/read-manifest.ts'
import { type InjectOptions, settingsOf } from '#cli/onboard/inject/settings-of.ts'
import { hasSidecar, injected, removed } from '#cli/onboard/inject/template.ts'
import { systemNamespace } from '#cli/onboard/manifests/object.ts'
import { fileOption, type Tools } from '#cli/tools.ts'

type Options = InjectOptions & { readonly file: readonly string[]; readonly remove?: boolean }

/** `inject`: workloads of a file, with the sidecar. */
export function injectCommand(program: Command, tools: Tools): void {
  program
    .command('inject')
    .description('prints the workloads of a file with the sidecar that makes them part of the mesh')
    .helpGroup('To change:')
    .addOption(fileOption())
    .option('--cluster <cluster>', 'where they will run; the centre is asked what it knows of it')
    .option('--values <file>', 'instead: the values of the chart of that cluster; the centre is not asked')
    .option('--mesh <mesh>', 'name of the mesh; with --network the centre is not asked')
    .option('--network <network>', 'network of the cluster')
    .option('--trust-domain <domain>', 'of the cluster (default: <cluster>.<mesh>, or as the centre knows it)')
    .option('--region <region>', 'of the cluster (default: as the nodes’ labels say, where pods carry them)')
    .option('--registry <registry>', 'where isthmus-proxy is pulled from (or ISTHMUS_REGISTRY)')
    .option('--image <image>', 'the sidecar’s image, instead')
    .option('--cni', 'Istio’s CNI plugin redirects the pods’ connections, and no container of theirs')
    .addOption(
      new Option('--remove', 'prints them as they were before').conflicts([
        ...['cluster', 'values', 'mesh', 'network', 'trustDomain', 'region', 'registry', 'image', 'cni'],
      ]),
    )
    .addHelpText('after', help)
    .action(async (options: Options) => {
      const inputs = options.file.map((path) => ({ path, text: readManifest(path) }))
      const settings = options.remove ? undefined : await settingsOf(options, { ...tools, env: tools.io.env })
      const skipped: string[] = []
      const all = inputs.map(({ path, text }) =>
        changedText(text, path, ({ name, workload, namespace, template }) => {
          if (settings === undefined) return { template: removed(template), faults: [] }
          const why = reasonToSkip(template, namespace)
          if (why === undefined) return injected(template, settings, workload)
          skipped.push(`${name} is left as it is: ${why}\n`)
          return { template, faults: [] }
        }),
      )
      tools.io.err(skipped.join(''))
      if (all.every(({ seen }) => seen.length === 0))
        tools.io.err(`Nothing there has pods: ${options.file.join(', ')}\n`)
      tools.print(joined(all.map(({ text }) => text)))
    })
}

function reasonToSkip(template: Readonly<Record<string, unknown>>, namespace: string): string | undefined {
  if (namespace === systemNamespace) return `what is in ${systemNamespace} has its own proxies`
  return isOptedOut(template) && !hasSidecar(template) ? 'it says sidecar.istio.io/inject: "false"' : undefined
}

/** Several files as one. */
const joined = (texts: readonly string[]): string =>
  texts
    .map((text, at) => (at === 0 || /^(?:[ \t]*(?:#.*)?\r?\n)*---/.test(text) ? text : `---\n${text}`))
    .map((text, at) => (at === texts.length - 1 || text.endsWith('\n') ? text : `${text}\n`))
    .join('')

const help = `
  isthmus inject -f deploy.yaml --cluster paris-1 | kubectl apply -f -

Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and Pods are given the sidecar, in Lists
too; all else is printed as it is. Doing it again changes nothing, or brings the sidecar up to date. Istio’s
annotations say what is not redirected: traffic.sidecar.istio.io/excludeInboundPorts and the others.
A pod that says sidecar.istio.io/inject: "false" is left alone. Where Pod Security does not let a container
set up the redirection (NET_ADMIN), use Istio’s CNI plugin: --cni.`
