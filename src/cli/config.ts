import { exampleFile, shownSettings } from '@/core/config/describe'
import { usage } from './arguments'
import { type Command, configOf } from './command'
import { rolesNamed } from './roles'

export const configCommand: Command = {
  name: 'config',
  usage: 'show|check|example [--json]',
  summary: 'Shows each setting with its source, checks them, or writes an example file.',
  async run(args) {
    const [, action, ...rest] = args.words
    if (rest.length > 0) throw usage('bingo config takes show, check or example')
    if (action === 'example') {
      process.stdout.write(exampleFile())
      return 0
    }
    if (action !== 'show' && action !== 'check') throw usage('bingo config takes show, check or example')
    const loaded = configOf(args)
    if (loaded.config.role) rolesNamed(loaded.config.role)
    if (action === 'check') {
      console.error('the configuration is valid')
      return 0
    }
    const shown = shownSettings(loaded)
    if (args.switches.has('json')) {
      console.log(JSON.stringify(shown, null, 2))
      return 0
    }
    const width = Math.max(...shown.map(({ key }) => key.length))
    for (const { key, value, source } of shown) console.log(`${key.padEnd(width)}  ${value ?? '–'}  (${source})`)
    return 0
  },
}
