import { readdirSync, readFileSync, truncateSync } from 'node:fs'

/** What Redis has logged, and what is left when a machine loses its power: a beginning of it. */
export interface LoggedCommand {
  /** Where it begins and ends in the file. */
  from: number
  to: number
  words: string[]
}

/** The file that Redis appends to. */
export function appendedFile(folder: string): string {
  const directory = `${folder}/appendonlydir`
  const files = readdirSync(directory).filter(name => name.endsWith('.incr.aof'))
  const number = (name: string) => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1])
  const [last] = files.toSorted((a, b) => number(b) - number(a))
  if (last === undefined) throw new Error('Redis has no append-only file')
  return `${directory}/${last}`
}

export function loggedCommands(path: string): LoggedCommand[] {
  const bytes = readFileSync(path)
  const commands: LoggedCommand[] = []
  let at = 0
  /** Of a line `*3` or `$5`. */
  const count = () => {
    const end = bytes.indexOf('\r\n', at)
    const number = Number(bytes.toString('latin1', at + 1, end))
    at = end + 2
    return number
  }
  while (at < bytes.length) {
    const from = at
    // Notes, as of the time.
    if (bytes[at] === 0x23) {
      at = bytes.indexOf('\n', at) + 1
      continue
    }
    const words = Array.from({ length: count() }, () => {
      const length = count()
      at += length + 2
      return bytes.toString('latin1', at - length - 2, at - 2)
    })
    commands.push({ from, to: at, words })
  }
  return commands
}

export interface Tear {
  /** Everything from there on is gone, with the script that was torn. */
  lost: LoggedCommand[]
  /** So many commands of that script are left. */
  left: number
}

/**
 * Cuts the file in the midst of a command in the midst of a script, one of the last `scripts`. Redis then runs nothing of the script, but
 * keeps its beginning in the file, and what comes next is appended to that: so the next start runs half of it.
 */
export function tear(path: string, scripts: number): Tear {
  const commands = loggedCommands(path)
  const begins = commands.flatMap(({ words }, i) => (words[0]?.toUpperCase() === 'MULTI' ? [i] : [])).slice(-scripts)
  const begin = begins[Math.floor(Math.random() * begins.length)]
  if (begin === undefined) throw new Error('no script is in the file')
  const length = commands.slice(begin).findIndex(({ words }) => words[0]?.toUpperCase() === 'EXEC')
  const left = Math.floor(Math.random() * (length < 0 ? 1 : length))
  const torn = commands[begin + 1 + left]
  if (!torn) throw new Error('the script has no end')
  truncateSync(path, torn.from + Math.ceil((torn.to - torn.from) / 2))
  return { lost: commands.slice(begin), left }
}
