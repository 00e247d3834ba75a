import type { FieldProblem } from '@/core/error'
import { type Mail, mailErrors } from '@/core/mailer'

/**
 * Checks before a message is made of anything. An address or a subject with a line break in it would write headers of its own,
 * and one with a comma would be two addresses.
 */
const addressPattern = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$/
const addressMax = 254
const subjectMax = 200
const textMax = 100_000
const keyMax = 128
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const controls = /[\u0000-\u001f\u007f\u2028\u2029]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: all but those that make lines
const controlsInText = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/

/** @throws MailInvalid, without the values: they are somebody's */
export function checkMail({ to, subject, text, key }: Mail): void {
  const problems: FieldProblem[] = []
  const must = (fits: boolean, pointer: string, detail: string) => void (fits || problems.push({ pointer, detail }))
  must(addressPattern.test(to) && to.length <= addressMax, 'to', 'must be one address, without a name')
  must(isWithin(subject, subjectMax) && !controls.test(subject), 'subject', `must be one line of 1–${subjectMax} characters`)
  must(
    isWithin(text, textMax) && !controlsInText.test(text),
    'text',
    `must be 1–${textMax} characters, without control characters but line breaks`,
  )
  must(isWithin(key, keyMax), 'key', `must be 1–${keyMax} characters`)
  if (problems.length > 0) throw mailErrors.MailInvalid({ problems })
}

const isWithin = (text: string, max: number) => text.length >= 1 && text.length <= max && text.isWellFormed()

/** `bingo <no-reply@example.com>` or the address alone. */
export function parseFrom(from: string): { name: string; address: string } {
  const [, name = '', inBrackets] = /^(.*?) ?<(.+)>$/.exec(from) ?? []
  return { name, address: inBrackets ?? from }
}
