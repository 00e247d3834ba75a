import pino, { type DestinationStream } from 'pino'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'

/**
 * Lines are gathered and written together: a write for each line costs a fifth of the throughput. At most `flushMs` of lines
 * are in memory, and none when the process ends in order; warnings and errors are written at once.
 */
const flushMs = 50
const batchBytes = 8 * 1024
/** When whoever reads stdout stands still, lines over this are dropped rather than kept for ever. */
const bufferMaxBytes = 8 * 1024 * 1024

export interface ProcessLog extends Log {
  /** Writes what is gathered. */
  flush(): void
}

/** @param bound fields of every line, such as the role */
export function createLog({ level, format }: Config['log'], bound: object): ProcessLog {
  const isPretty = format === 'pretty' || (format === undefined && process.stdout.isTTY === true)
  const destination = pino.destination({ fd: 1, sync: false, minLength: batchBytes, maxLength: bufferMaxBytes })
  const flush = () => {
    try {
      destination.flushSync()
    } catch {
      // Not open yet, or nobody reads any more: there is nowhere left to say so.
    }
  }
  // Unref: an idle log does not keep a process alive.
  setInterval(() => destination.flush(), flushMs).unref()
  return { ...fromPino(isPretty ? prettyStream(destination) : destination, level, bound, flush), flush }
}

/** A log that writes to a stream of the caller's; for tests. */
export const streamLog = (stream: DestinationStream, level: Config['log']['level'] = 'debug'): Log => fromPino(stream, level, {}, () => {})

function fromPino(stream: DestinationStream, level: Config['log']['level'], bound: object, urgent: () => void): Log {
  const logger = pino(
    {
      level,
      base: bound,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label }) },
    },
    stream,
  )
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => {
      logger.warn(fields ?? {}, message)
      urgent()
    },
    error: (message, fields) => {
      logger.error(fields ?? {}, message)
      urgent()
    },
    enabled: asked => logger.isLevelEnabled(asked),
  }
}

const colors: Record<string, string> = { debug: '\x1b[90m', info: '\x1b[36m', warn: '\x1b[33m', error: '\x1b[31m' }
const quiet = new Set(['level', 'time', 'msg', 'role', 'version', 'err'])

/** For people: time, level, message, and the fields after it. */
function prettyStream(out: { write(text: string): unknown }): DestinationStream {
  const hasColor = !process.env['NO_COLOR']
  return {
    write(line) {
      const entry = JSON.parse(line) as Record<string, unknown> & { level: string; time: string; msg: string; err?: { stack?: string } }
      const fields = Object.entries(entry)
        .filter(([name]) => !quiet.has(name))
        .map(([name, value]) => `${name}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`)
      const label = hasColor ? `${colors[entry.level] ?? ''}${entry.level.padEnd(5)}\x1b[0m` : entry.level.padEnd(5)
      const stack = entry.err?.stack ? `\n${entry.err.stack}` : ''
      out.write(`${entry.time.slice(11, 23)} ${label} ${[entry.msg, ...fields].join(' ')}${stack}\n`)
    },
  }
}
