import pino, { type DestinationStream } from 'pino'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import { createSink } from './log-sink'

export interface ProcessLog extends Log {
  /** Resolves when what was logged has been written. */
  close(): Promise<void>
}

/**
 * The log of this process: one JSON line an event on stdout, or text for people on a terminal.
 * @param bound fields of every line, such as the role
 */
export function createLog({ level, format }: Config['log'], bound: object): ProcessLog {
  const isPretty = format === 'pretty' || (format === undefined && process.stdout.isTTY === true)
  const sink = createSink(Bun.stdout.writer())
  return { ...createLogOn(isPretty ? prettyStream(sink) : sink, level, bound, sink.flush), close: sink.close }
}

/** @param urgent called after a warning or an error, which must not wait */
export function createLogOn(stream: DestinationStream, level: Config['log']['level'], bound: object = {}, urgent = () => {}): Log {
  const logger = pino(
    {
      level,
      base: { service: 'bingo', ...bound },
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
const quiet = new Set(['level', 'time', 'msg', 'service', 'role', 'version', 'err'])

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
