import type { Incoming } from '@/core/chat'

type Input = Incoming['input']

/** Text of strangers, as commands get it: one spelling of each character, and none that is not seen or that databases would change. */
export function plain(text: string): string
export function plain(input: Input): Input
export function plain(input: Input): Input {
  if (typeof input === 'string') return input.toWellFormed().normalize('NFC').replaceAll(unseen, '')
  return Object.fromEntries(Object.entries(input).map(([name, value]) => [name, typeof value === 'string' ? plain(value) : value]))
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out; ends of lines and tabs stay
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]/g
