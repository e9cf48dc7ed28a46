import { z } from 'zod'

const schemaOf = z.looseObject({ schema: z.unknown().optional() })
const operationSchema = z.looseObject({
  summary: z.string().optional(),
  tags: z.array(z.string()).optional(),
  security: z.array(z.record(z.string(), z.unknown())).optional(),
  parameters: z
    .array(
      z.looseObject({
        name: z.string(),
        in: z.string(),
        required: z.boolean().optional(),
        schema: z.unknown().optional(),
      }),
    )
    .optional(),
  requestBody: z.looseObject({ content: z.record(z.string(), schemaOf) }).optional(),
  responses: z.record(
    z.string(),
    z.looseObject({ description: z.string(), content: z.record(z.string(), schemaOf).optional() }),
  ),
})
type Operation = z.infer<typeof operationSchema>
const documentSchema = z.looseObject({
  info: z.looseObject({ title: z.string(), version: z.string(), description: z.string().optional() }),
  paths: z.record(z.string(), z.record(z.string(), operationSchema)),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).optional() }).optional(),
})

export const docsStyle = `
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f5f5f5;padding:.75rem;overflow:auto;max-height:30rem}summary{cursor:pointer;padding:.35rem 0}
summary b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse}td{padding:.15rem .8rem .15rem 0;vertical-align:top}
details{border-bottom:1px solid #eee}nav a{margin-right:1rem}
@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}pre{background:#242424}a{color:#8ab4ff}}
`

/** The OpenAPI document as one page of plain HTML: no script, nothing from elsewhere, every text escaped. */
export function docsPage(openapi: unknown): string {
  const { info, paths, components } = documentSchema.parse(openapi)
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const byTag = [...Map.groupBy(operations, ({ operation }) => operation.tags?.[0] ?? 'other')].toSorted()
  const nav = [...byTag.map(([tag]) => tag), 'schemas'].map((tag) => `<a href="#${escaped(tag)}">${escaped(tag)}</a>`)
  const sections = byTag.map(
    ([tag, list]) =>
      `<h2 id="${escaped(tag)}">${escaped(tag)}</h2>${list.map((one) => section(one.path, one.method, one.operation)).join('')}`,
  )
  const schemas = Object.entries(components?.schemas ?? {})
    .toSorted()
    .map(
      ([name, schema]) =>
        `<details id="schema-${escaped(name)}"><summary>${escaped(name)}</summary>${pre(schema)}</details>`,
    )
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>${escaped(info.title)}</title><style>${docsStyle}</style></head><body>` +
    `<h1>${escaped(info.title)} <small>${escaped(info.version)}</small></h1><p>${escaped(info.description ?? '')}</p>` +
    `<p><a href="/v1/openapi.json">openapi.json</a></p><nav>${nav.join('')}</nav>${sections.join('')}` +
    `<h2 id="schemas">schemas</h2>${schemas.join('')}</body></html>`
  )
}

function section(path: string, method: string, operation: Operation): string {
  const callers = (operation.security ?? []).flatMap((one) => Object.keys(one)).join(', ') || 'nobody in particular'
  const rows = (operation.parameters ?? []).map(
    (p) =>
      `<tr><td><code>${escaped(p.name)}</code></td><td>${escaped(p.in)}${p.required ? ', required' : ''}</td></tr>`,
  )
  const answers = Object.entries(operation.responses).map(
    ([status, { description, content }]) =>
      `<tr><td><code>${escaped(status)}</code></td><td>${escaped(description)}</td><td>${Object.values(content ?? {})
        .map((c) => link(c.schema))
        .join('')}</td></tr>`,
  )
  const request = Object.values(operation.requestBody?.content ?? {}).map((c) => `<p>Body: ${link(c.schema)}</p>`)
  return (
    `<details><summary><b>${escaped(method.toUpperCase())}</b> <code>${escaped(path)}</code> ${escaped(operation.summary ?? '')}</summary>` +
    `<p>Credential: ${escaped(callers)}</p>${rows.length > 0 ? `<table>${rows.join('')}</table>` : ''}${request.join('')}` +
    `<table>${answers.join('')}</table></details>`
  )
}

function link(schema: unknown): string {
  const ref = z.looseObject({ $ref: z.string() }).safeParse(schema)
  if (!ref.success) return pre(schema)
  const name = ref.data.$ref.replace('#/components/schemas/', '')
  return `<a href="#schema-${escaped(name)}">${escaped(name)}</a>`
}

const pre = (value: unknown): string => `<pre>${escaped(JSON.stringify(value, null, 2) ?? '')}</pre>`

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
