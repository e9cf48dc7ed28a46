import { stringify } from 'yaml'

type Values = { readonly [name: string]: Value }
type Value = string | number | boolean | null | readonly Value[] | Values

type Part = { readonly text: string } | { readonly code: string }
type Scope = { readonly Values: Values; readonly Release: { readonly Namespace: string } }

/**
 * Renders the templates of a chart as Helm does, as far as ours go: `if`, `else`, `with`, `define`, `include`, `fail`,
 * pipes, `default`, `printf`, `quote`, `toYaml`, `toJson`, `indent`, `ne`, `not`. Throws for all else, and what `fail` says.
 */
export function renderChart(templates: ReadonlyMap<string, string>, scope: Scope): ReadonlyMap<string, string> {
  const defined = new Map<string, readonly Part[]>()
  for (const [path, text] of templates) if (path.endsWith('.tpl')) collect(partsOf(text))
  return new Map(
    [...templates].filter(([path]) => !path.endsWith('.tpl')).map(([path, text]) => [path, run(partsOf(text), scope)]),
  )

  function collect(parts: readonly Part[]): void {
    for (let at = 0; at < parts.length; at++) {
      const name = /^define "(.+)"$/.exec(codeOf(parts[at]))?.[1]
      if (name === undefined) continue
      const end = endOf(parts, at)
      defined.set(name, parts.slice(at + 1, end))
      at = end
    }
  }

  function run(parts: readonly Part[], dot: unknown): string {
    let out = ''
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at]
      if (part && 'text' in part) out += part.text
      else {
        const code = codeOf(part)
        const [, word, rest = ''] = /^(if|with) (.+)$/.exec(code) ?? []
        if (word === undefined) {
          out += String(evaluate(code, dot))
          continue
        }
        const end = endOf(parts, at)
        const body = parts.slice(at + 1, end)
        const otherwise = body.findIndex((one, n) => codeOf(one) === 'else' && depthAt(body, n) === 0)
        const found = evaluate(rest, dot)
        const [yes, no] = otherwise < 0 ? [body, []] : [body.slice(0, otherwise), body.slice(otherwise + 1)]
        out += run(isTrue(found) ? yes : no, word === 'with' && isTrue(found) ? found : dot)
        at = end
      }
    }
    return out
  }

  function evaluate(code: string, dot: unknown): unknown {
    let value: unknown
    for (const [at, stage] of splitOn(code, '|').entries()) {
      const [word = '', ...args] = wordsOf(stage)
      const given = [...args.map((arg) => argument(arg, dot)), ...(at === 0 ? [] : [value])]
      value = at === 0 && args.length === 0 ? argument(word, dot) : call(word, given)
    }
    return value
  }

  function argument(word: string, dot: unknown): unknown {
    if (word === '.') return dot
    if (/^\d+$/.test(word)) return Number(word)
    if (word.startsWith('"')) return JSON.parse(word)
    if (word.startsWith('(')) return evaluate(word.slice(1, -1), dot)
    if (!/^(\.\w+)+$/.test(word)) throw new Error(`the test does not know ${word}`)
    // Helm keeps `.` in `with` for its value; ours names values from the top only outside of it.
    return word
      .slice(1)
      .split('.')
      .reduce<unknown>((of, name) => (of as Record<string, unknown>)[name], dot)
  }

  function call(word: string, args: readonly unknown[]): unknown {
    const [first, second] = args
    switch (word) {
      case 'quote':
        return JSON.stringify(String(first))
      case 'toYaml':
        return stringify(first, { lineWidth: 0 }).trimEnd()
      case 'toJson':
        return JSON.stringify(first)
      case 'indent':
        return String(second).replace(/^/gm, ' '.repeat(Number(first)))
      case 'default':
        return isTrue(second) ? second : first
      case 'printf':
        return args.slice(1).reduce<string>((text, arg) => text.replace('%s', String(arg)), String(first))
      case 'ne':
        return first !== second
      case 'not':
        return !isTrue(first)
      case 'fail':
        throw new Error(String(first))
      case 'include':
        return run(defined.get(String(first)) ?? missing(String(first)), second)
      default:
        throw new Error(`the test does not know ${word}`)
    }
  }
}

const missing = (name: string): never => {
  throw new Error(`nothing defines ${name}`)
}
const codeOf = (part: Part | undefined): string => (part && 'code' in part ? part.code : '')
const isTrue = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.length > 0
    : typeof value === 'object' && value !== null
      ? Object.keys(value).length > 0
      : Boolean(value)

/** Text and `{{ … }}`; a dash beside the braces takes white space away. */
function partsOf(template: string): Part[] {
  const parts: Part[] = []
  let [from, isTrimmed] = [0, false]
  const push = (text: string) => parts.push({ text: isTrimmed ? text.trimStart() : text })
  for (const match of template.matchAll(/\{\{(-?)\s*(.*?)\s*(-?)\}\}/g)) {
    const [whole, left, code = '', right] = match
    const before = template.slice(from, match.index)
    push(left === '-' ? before.trimEnd() : before)
    parts.push({ code })
    from = match.index + whole.length
    isTrimmed = right === '-'
  }
  push(template.slice(from))
  return parts
}

const opens = (code: string): boolean => /^(if|with|define) /.test(code)

function endOf(parts: readonly Part[], at: number): number {
  let depth = 0
  for (let n = at; n < parts.length; n++) {
    const code = codeOf(parts[n])
    if (opens(code)) depth += 1
    if (code === 'end') depth -= 1
    if (depth === 0) return n
  }
  throw new Error(`nothing ends {{ ${codeOf(parts[at])} }}`)
}

const depthAt = (parts: readonly Part[], at: number): number =>
  parts.slice(0, at).reduce((depth, part) => depth + (opens(codeOf(part)) ? 1 : codeOf(part) === 'end' ? -1 : 0), 0)

/** Apart at `mark`, outside of quotes and parentheses. */
function splitOn(text: string, mark: string): string[] {
  const found = ['']
  let [depth, isQuoted] = [0, false]
  for (const letter of text) {
    if (letter === '"') isQuoted = !isQuoted
    if (!isQuoted) depth += letter === '(' ? 1 : letter === ')' ? -1 : 0
    if (letter === mark && depth === 0 && !isQuoted) found.push('')
    else found[found.length - 1] += letter
  }
  return found
}

const wordsOf = (text: string): string[] => splitOn(text, ' ').filter((word) => word !== '')
