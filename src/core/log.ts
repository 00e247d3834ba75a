export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** One line an event: what happened, as fields. Never a password, token, connection string or session id. */
export interface Log {
  debug(message: string, fields?: object): void
  info(message: string, fields?: object): void
  warn(message: string, fields?: object): void
  /** `err` in `fields` is written with its stack and causes. */
  error(message: string, fields?: object): void
  /** Whether a line of this level would be written; asked before a costly line is built. */
  enabled(level: LogLevel): boolean
}
