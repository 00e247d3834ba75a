import { StartError } from '@/core/error'
import { isSomebodyThere } from './confirm'

/** Longer than any password may be: whatever is, is no password but the wrong file. */
const bytesMax = 1024

/**
 * The password in a file, or `-` for standard input, or what somebody at the terminal types twice, unseen. Flags and variables have none:
 * every process of the machine could read it.
 * @throws StartError when there is neither
 */
export async function askPassword(file: string | undefined): Promise<string> {
  if (file !== undefined) return fromFile(file)
  if (!isSomebodyThere())
    throw new StartError('nobody is at the terminal to ask for the password; give --password-file FILE, or - for standard input')
  return unseen(async ask => {
    const password = await ask('Password: ')
    if ((await ask('Once more: ')) !== password) throw new StartError('the two passwords differ; nothing was changed')
    return password
  })
}

/** Editors end a file by a line break, which is not part of the password; whatever else is in it is. */
async function fromFile(file: string): Promise<string> {
  const source = file === '-' ? Bun.stdin : Bun.file(file)
  const bytes = await source.bytes().catch(thrown => {
    throw new StartError(`cannot read the password from ${file}: ${thrown instanceof Error ? thrown.message : thrown}`)
  })
  if (bytes.byteLength > bytesMax) throw new StartError(`${file} has ${bytes.byteLength} bytes, which is no password`)
  return new TextDecoder().decode(bytes).replace(/\r?\n$/, '')
}

/** Asks for lines that the terminal does not show. Ctrl-C and Ctrl-D end the command. */
async function unseen<T>(work: (ask: (question: string) => Promise<string>) => Promise<T>): Promise<T> {
  let typed: string[] = []
  let wake = () => {}
  const take = (text: string) => {
    typed.push(...text)
    wake()
  }
  async function ask(question: string): Promise<string> {
    process.stderr.write(question)
    let line: string[] = []
    for (;;) {
      for (const [i, character] of typed.entries()) {
        if (character === '\r' || character === '\n') {
          typed = typed.slice(i + 1)
          process.stderr.write('\n')
          return line.join('')
        }
        if (character === '\u0003' || character === '\u0004') throw new StartError('given up; nothing was changed')
        // Ctrl-U takes all of it back.
        if (character === '\u0015') line = []
        else if (character === '\u007f' || character === '\b') line.pop()
        else line.push(character)
      }
      typed = []
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  // Before the question, since who is quick would see what they type.
  process.stdin.setRawMode(true)
  process.stdin.setEncoding('utf8')
  process.stdin.on('data', take).resume()
  try {
    return await work(ask)
  } finally {
    process.stdin.off('data', take).pause()
    process.stdin.setRawMode(false)
  }
}
