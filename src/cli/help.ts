import { roles } from '@roles'
import { settingsHelp } from '@/core/config/describe'
import type { Command } from './command'
import { version } from './version'

/** What one command takes. */
export function commandHelp({ name, usage, summary, flags = {}, examples = [] }: Command): string {
  const own = Object.entries(flags).map(
    ([flag, { value, summary: what }]) => [`--${flag}${value === undefined ? '' : ` ${value}`}`, what] as const,
  )
  const all = [...own, ['--json', 'output for programs'] as const, ['--config FILE', 'TOML file with settings'] as const]
  const table = (rows: readonly (readonly [string, string])[]) => {
    const width = Math.max(...rows.map(([left]) => left.length))
    return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
  }
  const shown = examples.length > 0 ? `\nExamples\n${table(examples)}\n` : ''
  return `bingo ${name} ${usage}\n\n${summary}\n${shown}\nFlags\n${table(all)}\n\nSettings are flags, too: see 'bingo --help'.\n`
}

export function helpText(commands: readonly Command[]): string {
  const rows = commands.map(({ name, usage, summary }) => [`bingo ${name} ${usage}`.trim(), summary] as const)
  const width = Math.max(...rows.map(([left]) => left.length))
  return `bingo ${version}: one executable, started by role.

Examples
  bingo --role=all                                  everything in one process, on SQLite in ./data
  bingo --role=api --http.port=9000                 the API alone, on another port
  BINGO_DATABASE_URL=mysql://… bingo migrate up     prepare a MySQL database
  bingo config show                                 each setting, and where it comes from

Start
  bingo --role=ROLE[,ROLE…] [--config FILE] [--section.key=value …] [--migrate]

Roles
${roles.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join('\n')}
  all        All of them in one process.

Commands
${rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')}

Flags
  --config FILE  TOML file with settings   --migrate  bring MySQL's tables up to date, then start
  --json         output for programs       --help, -h   --version

'bingo COMMAND --help' says more of a command.

Settings: flags stand over variables, variables over the file. Secrets have no flag; NAME_FILE names a file that holds one.
${settingsHelp()}
`
}
