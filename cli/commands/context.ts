import type { Command } from 'commander'
import { contextPath, loadContexts, namedContext, parseCentreUrl, saveContexts } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { cell, type Format, render } from '#cli/output.ts'
import { absolute, outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'

/** `context list|use|add|delete`: the centres that this command knows. */
export function contextCommands(program: Command, tools: Tools): void {
  const { io, print } = tools
  const { env } = io
  const context = program.command('context').description('the centres this command knows').helpGroup('This command:')
  context
    .command('list')
    .description('all contexts; * marks the current one')
    .addOption(outputOption())
    .action(({ output }: { output: Format }) => {
      const { current, contexts } = loadContexts(env)
      const rows = Object.entries(contexts).map(([name, one]) => ({ name, current: name === current, ...one }))
      const none = `There are none. The sandbox (npm start) makes one, or:\n  ${self} context add <name> --url https://<host>:<port>\n`
      const shown = {
        ...{ rows, single: false, none },
        columns: [
          ['', (row) => (row['current'] ? '*' : '')],
          ['NAME', (row) => cell(row['name'])],
          ['URL', (row) => cell(row['url'])],
          ['RELAYS', (row) => cell(Object.keys((row['relays'] ?? {}) as object))],
        ],
      } satisfies Parameters<typeof render>[0]
      print(render(shown, output, io.now(), tools.paint))
    })
  context
    .command('use')
    .description('makes a context the current one')
    .argument('<name>')
    .action((name: string) => {
      const file = loadContexts(env)
      namedContext(file, name)
      saveContexts(env, { ...file, current: name })
      print(`The current context is ${name}.\n`)
    })
  context
    .command('add')
    .description('adds a context from --url, --key-file and --ca-file; of one that is there, changes what is given')
    .argument('<name>')
    .option('--relay <cluster=url...>', 'status address of a relay, for proxies, and for when the centre is away')
    .action((name: string, options: { relay?: readonly string[] }) => {
      const { url, keyFile, caFile } = tools.target()
      const file = loadContexts(env)
      const before = Object.hasOwn(file.contexts, name) ? file.contexts[name] : undefined
      if (!url && !before)
        throw refusal({
          ...{ kind: 'invalid', why: '--url is missing', on: `context ${name}` },
          mend: `isthmus context add ${name} --url https://<host>:<port> --ca-file <file> --key-file <file>`,
        })
      const relays = { ...before?.relays, ...Object.fromEntries((options.relay ?? []).map(parseRelay)) }
      const added = {
        ...before,
        url: parseCentreUrl(url ?? before?.url),
        ...(keyFile ? { keyFile: absolute(keyFile) } : {}),
        ...(caFile ? { caFile: absolute(caFile) } : {}),
        ...(options.relay ? { relays } : {}),
      }
      const current = file.current ?? name
      saveContexts(env, { current, contexts: { ...file.contexts, [name]: added } })
      const use =
        current === name ? '' : ` The current one stays ${current}; to change that:\n  ${self} context use ${name}\n`
      print(`Context ${name} is in ${contextPath(env)}.${use || '\n'}`)
    })
  context
    .command('delete')
    .description('forgets a context; the centre and its files stay as they are')
    .argument('<name>')
    .action((name: string) => {
      const { current, contexts } = loadContexts(env)
      namedContext({ contexts }, name)
      const { [name]: _, ...others } = contexts
      saveContexts(env, { ...(current === undefined || current === name ? {} : { current }), contexts: others })
      const next = `None is current now; to choose one:\n  ${self} context use <name>\n`
      print(`Context ${name} is forgotten.${current === name ? ` ${next}` : '\n'}`)
    })
}

function parseRelay(text: string): readonly [cluster: string, url: string] {
  const [, cluster, url] = /^([^=]+)=(http:\/\/.+)$/.exec(text) ?? []
  if (cluster && url && URL.canParse(url)) return [cluster, url]
  throw refusal({
    ...{ kind: 'invalid', why: 'this is not <cluster>=http://<host>:<port>', on: `--relay ${text}` },
    mend: 'give the status address of its relay, such as --relay paris-1=http://127.0.0.1:15014',
  })
}
