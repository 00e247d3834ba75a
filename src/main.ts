import './cli/production'
import { adminCommand } from './cli/admin'
import { parseArguments, usage } from './cli/arguments'
import { auditCommand } from './cli/audit'
import type { Command } from './cli/command'
import { configCommand } from './cli/config'
import { healthcheckCommand } from './cli/healthcheck'
import { commandHelp, helpText } from './cli/help'
import { migrateCommand } from './cli/migrate'
import { openapiCommand } from './cli/openapi'
import { rolesCommand } from './cli/roles'
import { scheduleCommand } from './cli/schedule'
import { serve } from './cli/serve'
import { taskCommand } from './cli/task'
import { version } from './cli/version'
import { AppError, exitCodes, StartError } from './core/error'

const commands: readonly Command[] = [
  migrateCommand,
  adminCommand,
  auditCommand,
  configCommand,
  taskCommand,
  scheduleCommand,
  rolesCommand,
  openapiCommand,
  healthcheckCommand,
]

async function main(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, name => commands.find(command => command.name === name)?.flags)
  if (args.switches.has('help')) {
    const asked = commands.find(({ name }) => name === args.words[0])
    process.stdout.write(asked ? commandHelp(asked) : helpText(commands))
    return exitCodes.ok
  }
  if (args.switches.has('version')) {
    console.log(version)
    return exitCodes.ok
  }
  const [word] = args.words
  if (word === undefined) {
    const hasRole = args.settings['role'] !== undefined || process.env['BINGO_ROLE']
    if (hasRole) return serve(args)
    process.stderr.write(helpText(commands))
    return exitCodes.usage
  }
  const command = commands.find(({ name }) => name === word)
  if (!command) throw usage(`there is no command ${JSON.stringify(word)}; commands are ${commands.map(({ name }) => name).join(', ')}`)
  return command.run(args)
}

/** What people can mend is said in a line; only what is our fault comes with a stack. */
function explain(thrown: unknown): number {
  if (thrown instanceof StartError) {
    console.error(`bingo: ${thrown.message}`)
    return thrown.exitCode
  }
  if (thrown instanceof AppError) {
    console.error(`bingo: ${thrown.message}`)
    for (const { pointer, detail } of thrown.problems) console.error(`  ${pointer ? `${pointer}: ` : ''}${detail}`)
    return exitCodes.failed
  }
  console.error('bingo: this is a fault in bingo; please report it.\n', thrown)
  return exitCodes.failed
}

process.exit(await main(process.argv.slice(2)).catch(explain))
