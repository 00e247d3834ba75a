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
 * Cuts the file in the midst of a command of one of the last `scripts`, at random. Redis then runs nothing of that script, but keeps its
 * beginning in the file, and what comes next is appended to that: so the next start runs half of it.
 */
export function tear(path: string, scripts: number): Tear {
  const begins = loggedScripts(loggedCommands(path)).slice(-scripts)
  return tearAt(path, begins.length - 1 - Math.floor(Math.random() * begins.length), size => Math.floor(Math.random() * (size + 1)))
}

/**
 * @param back how many scripts before the last one
 * @param leaves how many commands of it, of so many that write
 */
export function tearAt(path: string, back: number, leaves: (size: number) => number): Tear {
  const commands = loggedCommands(path)
  const begin = loggedScripts(commands).at(-1 - back)
  if (begin === undefined) throw new Error('no such script is in the file')
  const end = commands.findIndex(({ words }, i) => i > begin && isWord(words, 'EXEC'))
  const left = end < 0 ? 0 : leaves(end - begin - 1)
  const torn = commands[begin + 1 + left]
  if (!torn) throw new Error('the script has no end')
  truncateSync(path, torn.from + Math.ceil((torn.to - torn.from) / 2))
  return { lost: commands.slice(begin), left }
}

/** Where those begin that write more than one thing. */
const loggedScripts = (commands: readonly LoggedCommand[]) => commands.flatMap(({ words }, i) => (isWord(words, 'MULTI') ? [i] : []))
const isWord = (words: readonly string[], word: string) => words[0]?.toUpperCase() === word
