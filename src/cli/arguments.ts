import { exitCodes, StartError } from '@/core/error'
import { nearest } from '@/core/config/leaf'

/** The command line, split. Settings are checked where the configuration is loaded. */
export interface Arguments {
  /** What stands without dashes: `['migrate', 'up']`. */
  words: readonly string[]
  /** `--http.port=8081` → `http.port`: `8081`; `--role` is one of them. */
  settings: Readonly<Record<string, string>>
  /** Of the command: `--queue=mail` → `queue`: `mail`; `--fix` → `fix`: ''. */
  flags: Readonly<Record<string, string>>
  configFile: string | undefined
  switches: ReadonlySet<Switch>
}

const switches = ['help', 'version', 'json', 'migrate'] as const
export type Switch = (typeof switches)[number]

/** A flag that one command has besides those that all have. */
export interface Flag {
  /** How its value is called in the help; absent when it has none. */
  value?: string
  summary: string
}
/** By their names without dashes. Names have no dots: those are settings. */
export type Flags = Readonly<Record<string, Flag>>

/**
 * @param flagsOf the flags of a command, which stand after it
 * @throws StartError with exit code 64
 */
export function parseArguments(argv: readonly string[], flagsOf: (command: string) => Flags | undefined): Arguments {
  const words: string[] = []
  const settings: Record<string, string> = {}
  const flags: Record<string, string> = {}
  const on = new Set<Switch>()
  let configFile: string | undefined
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string
    // A dash alone is a word: standard input.
    if (argument === '-' || !argument.startsWith('-')) {
      words.push(argument)
      continue
    }
    if (argument === '-h') {
      on.add('help')
      continue
    }
    const own = (words[0] !== undefined && flagsOf(words[0])) || {}
    const [name = '', inline] = splitOnce(argument.replace(/^--/, ''), '=')
    const isSwitch = (switches as readonly string[]).includes(name)
    const flag = Object.hasOwn(own, name) ? own[name] : undefined
    const hasNoValue = isSwitch || (flag !== undefined && flag.value === undefined)
    if (hasNoValue && inline !== undefined) throw usage(`--${name} takes no value`)
    if (isSwitch) {
      on.add(name as Switch)
      continue
    }
    if (!flag && !/^(config|role|[a-z]\w*\.\w+)$/.test(name))
      throw usage(`there is no flag ${argument.split('=')[0]}${suggestion(name, words[0], Object.keys(own))}`)
    const value = hasNoValue ? '' : (inline ?? argv[++i])
    if (value === undefined || (!hasNoValue && inline === undefined && value.startsWith('--')))
      throw usage(`--${name} needs a value: --${name}=…`)
    if (name === 'config') configFile = value
    else if (name in (flag ? flags : settings)) throw usage(`--${name} is given twice`)
    else if (flag) flags[name] = value
    else settings[name] = value
  }
  return { words, settings, flags, configFile, switches: on }
}

export const usage = (message: string) => new StartError(`${message}\nSee 'bingo --help'.`, exitCodes.usage)

function suggestion(name: string, command: string | undefined, own: readonly string[]): string {
  const near = nearest(name, ['config', 'role', ...switches, ...own])
  if (near) return `; did you mean --${near}?`
  if (own.length === 0) return '; settings are --section.key=value'
  return `; flags of ${command} are ${own.map(flag => `--${flag}`).join(', ')}, and settings --section.key=value`
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
