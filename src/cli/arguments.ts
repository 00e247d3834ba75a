import { exitCodes, StartError } from '@/core/error'
import { nearest } from '@/core/config/leaf'

/** The command line, split. Settings are checked where the configuration is loaded. */
export interface Arguments {
  /** What stands without dashes: `['migrate', 'up']`. */
  words: readonly string[]
  /** `--http.port=8081` → `http.port`: `8081`; `--role` is one of them. */
  settings: Readonly<Record<string, string>>
  configFile: string | undefined
  switches: ReadonlySet<Switch>
}

const switches = ['help', 'version', 'json', 'migrate'] as const
export type Switch = (typeof switches)[number]

/** @throws StartError with exit code 64 */
export function parseArguments(argv: readonly string[]): Arguments {
  const words: string[] = []
  const settings: Record<string, string> = {}
  const on = new Set<Switch>()
  let configFile: string | undefined
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string
    if (argument === '-h') on.add('help')
    else if (!argument.startsWith('-')) words.push(argument)
    else {
      const [name = '', inline] = splitOnce(argument.replace(/^--/, ''), '=')
      const isSwitch = (switches as readonly string[]).includes(name)
      if (isSwitch && inline !== undefined) throw usage(`--${name} takes no value`)
      if (isSwitch) {
        on.add(name as Switch)
        continue
      }
      if (!/^(config|role|[a-z]\w*\.\w+)$/.test(name)) throw usage(`there is no flag ${argument.split('=')[0]}${suggestion(name)}`)
      const value = inline ?? argv[++i]
      if (value === undefined || (inline === undefined && value.startsWith('--'))) throw usage(`--${name} needs a value: --${name}=…`)
      if (name === 'config') configFile = value
      else if (name in settings) throw usage(`--${name} is given twice`)
      else settings[name] = value
    }
  }
  return { words, settings, configFile, switches: on }
}

export const usage = (message: string) => new StartError(`${message}\nSee 'bingo --help'.`, exitCodes.usage)

function suggestion(name: string): string {
  const near = nearest(name, ['config', 'role', ...switches])
  return near ? `; did you mean --${near}?` : '; settings are --section.key=value'
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
