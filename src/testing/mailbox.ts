import { until } from './conformance/cache-fixture'
import { parseMail, type TestMailServer } from './smtp'

export interface Letter {
  subject: string
  text: string
  /** The code that it brings, if any. */
  code: string
}

/** What one address was sent, in the order of coming. */
export interface Mailbox {
  /** Waits for one more with this subject than was asked for so far. */
  next(subject: string): Promise<Letter>
  subjects(): string[]
}

export function mailboxOf({ received }: Pick<TestMailServer, 'received'>, address: string): Mailbox {
  const letters = () => received.filter(({ to }) => to.includes(address)).map(({ source }) => letterOf(source))
  const read = new Map<string, number>()
  return {
    subjects: () => letters().map(({ subject }) => subject),
    async next(subject) {
      const count = read.get(subject) ?? 0
      const found = () => letters().filter(each => each.subject === subject)[count]
      await until(() => found() !== undefined, 15_000)
      read.set(subject, count + 1)
      return found() as Letter
    },
  }
}

function letterOf(source: string): Letter {
  const { headers, body } = parseMail(source)
  const isQuoted = headers.get('content-transfer-encoding')?.[0] === 'quoted-printable'
  const text = isQuoted ? unquoted(body) : body
  return { subject: headers.get('subject')?.[0] ?? '', text, code: /code: (\S{48})/i.exec(text)?.[1] ?? '' }
}

/** Quoted-printable (RFC 2045 §6.7) of ASCII. */
const unquoted = (text: string): string =>
  text.replaceAll(/=\r?\n/g, '').replaceAll(/=([\dA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
