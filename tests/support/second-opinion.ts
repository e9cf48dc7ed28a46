import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { builtByGo, findGo, isBuilt } from '#tests/support/go-program.ts'

const run = promisify(execFile)

/** A chain that somebody else is asked about, PEM. `at`: Unix seconds, now where absent. */
export type Question = {
  readonly leaf: string
  readonly between: string
  readonly root: string
  readonly purpose?: 'sslclient' | 'sslserver' | 'any'
  readonly at?: number
}

export function hasOpenssl(): boolean {
  try {
    return execFileSync('openssl', ['version'], { stdio: 'pipe' }).length > 0
  } catch {
    return false
  }
}

/** OpenSSL's verdict on each chain: `OK`, or its reason. `strict`: also what RFC 5280 asks of who makes certificates. */
export async function opensslSays(questions: readonly Question[], { strict = true } = {}): Promise<readonly string[]> {
  const work = mkdtempSync(join(tmpdir(), 'opinion-'))
  const write = (name: string, text: string): string => {
    const path = join(work, name)
    writeFileSync(path, text)
    return path
  }
  try {
    const alike = Map.groupBy(questions.keys(), (i) => {
      const { between = '', root = '', purpose = '', at = '' } = questions[i] ?? {}
      return [root, between, purpose, at, questions[i]?.leaf === root].join('\n')
    })
    const verdicts = new Map<number, string>()
    for (const [group, places] of [...alike.values()].entries()) {
      const [first] = places
      const { between, root, leaf, purpose = 'sslclient', at } = questions[first ?? 0] ?? noQuestion
      const args = [
        ...['verify', ...(strict ? ['-x509_strict'] : []), ...(leaf === root ? [] : ['-purpose', purpose])],
        ...(at === undefined ? [] : ['-attime', String(at)]),
        ...['-CAfile', write(`${group}-root.pem`, root)],
        ...(between === '' ? [] : ['-untrusted', write(`${group}-between.pem`, between)]),
        ...places.map((i) => write(`${i}.pem`, questions[i]?.leaf ?? '')),
      ]
      const said = await run('openssl', args, { maxBuffer: 2 ** 24 }).catch(
        (fault: { stdout: string; stderr: string }) => fault,
      )
      const text = `${said.stdout}\n${said.stderr}`
      for (const i of places) {
        const ok = text.includes(`${join(work, `${i}.pem`)}: OK`)
        verdicts.set(i, ok ? 'OK' : places.length === 1 ? said.stderr : reasonIn(text, join(work, `${i}.pem`)))
      }
    }
    return questions.map((_, i) => verdicts.get(i) ?? 'was not asked')
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

const noQuestion: Question = { leaf: '', between: '', root: '' }

/** The lines that OpenSSL wrote before it named the file as failed. */
function reasonIn(text: string, path: string): string {
  const at = text.indexOf(`error ${path}`)
  return at < 0
    ? 'refused'
    : text
        .slice(Math.max(0, at - 200), at)
        .trim()
        .split('\n')
        .slice(-2)
        .join(' ')
}

/** Whether OpenSSL takes a certificate request (DER): `OK`, or its reason. */
export async function opensslSaysOfRequest(der: Uint8Array): Promise<string> {
  const work = mkdtempSync(join(tmpdir(), 'opinion-'))
  try {
    const path = join(work, 'csr.der')
    writeFileSync(path, der)
    const args = ['req', '-inform', 'DER', '-in', path, '-verify', '-noout']
    const said = await run('openssl', args).catch((fault: { stdout: string; stderr: string }) => fault)
    return /verify OK/.test(`${said.stdout}${said.stderr}`) ? 'OK' : said.stderr
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * The Go to ask in tests, or undefined: in CI and in `npm run test:fuzz` any that is here; else only where its program is
 * built already, because that takes half a minute. Says so once where there is none.
 */
export function goForTests(): string | undefined {
  const go = findGo()
  const wanted = process.env['CI'] === 'true' || process.env['ISTHMUS_FUZZ_SECONDS'] !== undefined
  if (go !== undefined && (wanted || isBuilt('verify'))) return go
  if (!told)
    console.warn(go ? 'Go is not asked: npm run test:fuzz asks it' : 'Go is not asked: there is none on this machine')
  told = true
  return undefined
}
let told = false

/** Asks Go: `OK` or its reason for each question. The program is built once for each version of its source. */
export async function goSays(go: string, questions: readonly object[]): Promise<readonly string[]> {
  built ??= builtByGo(go, 'verify')
  const program = await built
  return await new Promise((done, fail) => {
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    child.once('error', fail)
    child.once('close', (code) => {
      const lines = said.split('\n').slice(0, -1)
      if (code === 0 && lines.length === questions.length) done(lines)
      else fail(new Error(`Go's verifier ended with ${code} after ${lines.length} of ${questions.length} answers`))
    })
    child.stdin.end(questions.map((one) => `${JSON.stringify(one)}\n`).join(''))
  })
}
let built: Promise<string> | undefined
