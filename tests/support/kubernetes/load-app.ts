import { Agent, createServer, get } from 'node:http'

/**
 * A caller for pods: `/start?<calls a second>&<url>` begins to call, at that pace and one after the other's failure or not;
 * `/counts` says what came of it: how many were answered by which `version` and `pod`, the failures, the last answers.
 */
type Counts = {
  answered: number
  readonly by: Record<string, number>
  readonly failed: string[]
  lastAt: number
  last: string
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const answerMs = 10_000
let counts: Counts | undefined
let timer: NodeJS.Timeout | undefined

function call(url: string, into: Counts): void {
  const sent = Date.now()
  const fail = (why: string): void => {
    if (into.failed.length < 50) into.failed.push(`${new Date(sent).toISOString()} ${why}`)
  }
  const request = get(url, { agent, timeout: answerMs }, (answer) => {
    let text = ''
    answer.setEncoding('utf8').on('data', (piece) => {
      text += piece
    })
    answer.on('error', (fault) => fail(fault.message))
    answer.on('end', () => {
      if (answer.statusCode !== 200) return fail(`${answer.statusCode} ${text.slice(0, 200)}`)
      const { pod, version } = JSON.parse(text) as { pod: string; version: string }
      into.answered += 1
      into.last = pod
      into.lastAt = Date.now()
      const key = `${version} ${pod}`
      into.by[key] = (into.by[key] ?? 0) + 1
    })
  })
  request.on('timeout', () => request.destroy(new Error('no answer in time')))
  request.on('error', (fault) => fail(fault.message))
}

createServer(({ url = '/' }, answer) => {
  const [path, query = ''] = url.split('?')
  const [pace = '', target = ''] = query.split('&')
  if (path === '/start') {
    const into: Counts = { answered: 0, by: {}, failed: [], lastAt: 0, last: '' }
    clearInterval(timer)
    counts = into
    timer = setInterval(() => call(decodeURIComponent(target), into), 1000 / Number(pace))
  }
  if (path === '/stop') clearInterval(timer)
  answer.setHeader('content-type', 'application/json')
  answer.end(JSON.stringify(counts ?? {}))
}).listen(8088, '0.0.0.0')

process.on('SIGTERM', () => process.exit(0))
