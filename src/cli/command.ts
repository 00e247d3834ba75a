import { readFileSync } from 'node:fs'
import { type LoadedConfig, loadConfig } from '@/core/config/load'
import { exitCodes, StartError } from '@/core/error'
import type { Arguments, Flags } from './arguments'

/** A subcommand. Data goes to stdout, messages to stderr. */
export interface Command {
  name: string
  /** After the name, in the help: `status|up|down`. */
  usage: string
  summary: string
  /** Of this command alone; they stand after its name. */
  flags?: Flags
  /** Command lines, each with what it does, for the help of this command. */
  examples?: readonly (readonly [string, string])[]
  /** @returns the exit code */
  run(args: Arguments): Promise<number>
}

/** The configuration that this command line, the environment and the file say. @throws StartError with exit code 78 */
export function configOf(args: Arguments): LoadedConfig {
  const file = args.configFile === undefined ? {} : { file: { name: args.configFile, content: readToml(args.configFile) } }
  return loadConfig({ ...file, env: process.env, flags: args.settings, readFile: path => readFileSync(path, 'utf8') })
}

function readToml(path: string): unknown {
  try {
    return Bun.TOML.parse(readFileSync(path, 'utf8'))
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown)
    throw new StartError(`cannot read the configuration file ${path}: ${why}; see 'bingo config example'`, exitCodes.configuration)
  }
}
