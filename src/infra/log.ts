import type { Config } from '@/core/config/settings'
import { type Log, type LogLevel, logLevels } from '@/core/log'
import { printable } from '@/core/printable'
import { createSink } from './log-sink'

export interface ProcessLog extends Log {
  /** From now on lines of a lower level are not written. */
  setLevel(level: Config['log']['level']): void
  /** Resolves when what was logged has been written. */
  close(): Promise<void>
}

/**
 * The log of this process: one JSON line an event on stdout, or text for people on a terminal. Written here rather than by a
 * library because a line is written for each request: the fastest of them takes three times as long, a tenth of the throughput.
 * @param bound fields of every line, such as the role
 */
export function createLog({ level, format }: Config['log'], bound: object): ProcessLog {
  const isPretty = format === 'pretty' || (format === undefined && process.stdout.isTTY === true)
  const sink = createSink(Bun.stdout.writer())
  const write = isPretty ? (line: string) => sink.write(pretty(line)) : sink.write
  return { ...createLogOn(write, level, bound, sink.flush), close: sink.close }
}

/**
 * @param write takes one line with its end
 * @param urgent called after an error, which must not wait
 */
export function createLogOn(
  write: (line: string) => void,
  level: Config['log']['level'],
  bound: object = {},
  urgent = () => {},
): Omit<ProcessLog, 'close'> {
  let least = logLevels.indexOf(level)
  const enabled = (asked: LogLevel) => logLevels.indexOf(asked) >= least
  const common = JSON.stringify({ service: 'bingo', ...bound }).slice(1, -1)
  const writer = (own: LogLevel) => {
    const rank = logLevels.indexOf(own)
    const head = `{"level":"${own}","time":"`
    return (message: string, fields?: object) => {
      if (rank < least) return
      const more = fields ? `,${encoded(fields)}` : ''
      // JSON leaves some of what terminals obey as it is; escaped it is the same to whoever parses it.
      write(`${printable(`${head}${timestamp()}",${common}${more.length > 1 ? more : ''},"msg":${JSON.stringify(message)}}`)}\n`)
    }
  }
  const error = writer('error')
  return {
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: (message, fields) => {
      error(message, fields)
      urgent()
    },
    enabled,
    setLevel(changed) {
      least = logLevels.indexOf(changed)
    },
  }
}

let writtenMs = 0
let written = ''
/** Many lines fall into one millisecond under load, and saying it costs more than looking at the clock. */
function timestamp(): string {
  const now = Date.now()
  if (now !== writtenMs) {
    writtenMs = now
    written = new Date(now).toISOString()
  }
  return written
}

/** Fields as the inside of a JSON object. */
function encoded(fields: object): string {
  try {
    return JSON.stringify('err' in fields ? { ...fields, err: described(fields.err) } : fields).slice(1, -1)
  } catch (thrown) {
    // A field that JSON cannot say (a circle, a bigint) must not make the event it belongs to fail.
    return JSON.stringify({ unwritable: Object.keys(fields), why: String(thrown) }).slice(1, -1)
  }
}

const causesMax = 5

/** An error with its stack and causes; other fields of errors may hold SQL or input, and stay out. */
function described(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return thrown === undefined ? undefined : String(thrown)
  const { name, message, stack, cause } = thrown
  const code = (thrown as { code?: unknown }).code
  return {
    type: name,
    message,
    ...(code !== undefined && { code: String(code) }),
    stack,
    ...(cause !== undefined && depth < causesMax && { cause: described(cause, depth + 1) }),
  }
}

const colors: Record<string, string> = { debug: '\x1b[90m', info: '\x1b[36m', warn: '\x1b[33m', error: '\x1b[31m' }
/** Said in another form, or the same in every line. */
const notAsFields = new Set(['level', 'time', 'msg', 'service', 'role', 'version', 'err'])

/** For people: time, level, message, and the fields after it; nothing that somebody else has chosen is obeyed by their terminal. */
export function pretty(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown> & { level: string; time: string; msg: string; err?: { stack?: string } }
  const fields = Object.entries(entry)
    .filter(([name]) => !notAsFields.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' && !/[\s\p{Cc}]/u.test(value) ? value : JSON.stringify(value)}`)
  const label = process.env['NO_COLOR'] ? entry.level.padEnd(5) : `${colors[entry.level] ?? ''}${entry.level.padEnd(5)}\x1b[0m`
  const stack = entry.err?.stack?.split('\n').map(each => `\n${printable(each)}`) ?? []
  return `${entry.time.slice(11, 23)} ${label} ${printable([entry.msg, ...fields].join(' '))}${stack.join('')}\n`
}
