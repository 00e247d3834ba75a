import { nearest } from '@/core/config/leaf'

/** What is wrong with cron expressions and time zones, in words for people. What is read here is what is taken: croner would take more. */

const expressionMax = 200
const nicknames = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly']

interface Field {
  name: string
  min: number
  max: number
  /** In the order of their numbers, from `min` on. */
  words?: readonly string[]
}

const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const monthWords = months.map(month => month.slice(0, 3).toUpperCase())
const dayWords = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']

const second: Field = { name: 'second', min: 0, max: 59 }
const minute: Field = { name: 'minute', min: 0, max: 59 }
const hour: Field = { name: 'hour', min: 0, max: 23 }
const day: Field = { name: 'day of the month', min: 1, max: 31 }
const month: Field = { name: 'month', min: 1, max: 12, words: monthWords }
/** Sunday is 0 and 7. */
const weekday: Field = { name: 'day of the week', min: 0, max: 7, words: dayWords }

const order = 'minute, hour, day of the month, month, day of the week'

/** @returns what is wrong with what is said; whether it ever comes is not asked */
export function expressionFaults(expression: unknown): string[] {
  if (typeof expression !== 'string') return [`must be a text of five fields: ${order}`]
  const said = expression.trim()
  if (said === '') return [`is empty; say five fields: ${order}`]
  if (expression.length > expressionMax) return [`is ${expression.length} characters; at most ${expressionMax} are read`]
  const stray = /[^\x20-\x7e]/u.exec(expression)?.[0]
  if (stray !== undefined) return [`has the character ${named(stray)}; write letters, digits, spaces and * , - / ? # + @`]
  if (said.startsWith('@')) return nicknameFaults(said)
  const fields = said.split(/ +/)
  if (fields.length === 7) return ['has seven fields; years cannot be said']
  if (fields.length < 5 || fields.length > 6)
    return [`has ${fields.length} ${fields.length === 1 ? 'field' : 'fields'}; say five: ${order}, or six, with the second before them`]
  const all = fields.length === 6 ? [second, minute, hour, day, month, weekday] : [minute, hour, day, month, weekday]
  return all.flatMap((field, at) => fieldFault(field, fields[at] ?? '') ?? [])
}

const named = (character: string) =>
  `U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}${/[\p{L}\p{N}\p{P}\p{S}]/u.test(character) ? ` (${character})` : ''}`

function nicknameFaults(said: string): string[] {
  const name = said.toLowerCase()
  if (nicknames.includes(name)) return []
  if (name === '@reboot') return ['@reboot is no time: let a service of a module do in its `start` what every process does first']
  const near = nearest(name, nicknames)
  return [`${JSON.stringify(said)} is none of ${nicknames.join(', ')}${near ? `; did you mean ${near}?` : ''}`]
}

/** The first, since one wrong number of a list explains the others. */
function fieldFault(field: Field, text: string): string | undefined {
  if (text === '*') return undefined
  if (text === '?') return field === day || field === weekday ? undefined : `the ${field.name} cannot be ?; say *`
  if (field === day && /^LW$/i.test(text)) return undefined
  // With it both the day of the month and that of the week must fit; without it, either.
  const items = field === weekday && text.startsWith('+') ? text.slice(1) : text
  return items
    .split(',')
    .map(item => (item === '' ? `the ${field.name} ${text} has an empty part` : itemFault(field, item)))
    .find(fault => fault !== undefined)
}

function itemFault(field: Field, item: string): string | undefined {
  if (field === day && /^L$/i.test(item)) return undefined
  const nearestWorkday = field === day ? /^(\d+)W$/i.exec(item)?.[1] : undefined
  if (nearestWorkday !== undefined) return valueFault(field, nearestWorkday)
  const ofMonth = field === weekday ? /^(\w+?)(?:L|#(\w*))$/i.exec(item) : undefined
  if (ofMonth) return weekFault(ofMonth[1] ?? '', ofMonth[2])
  return /^[^/]*\/[^/]*$/.test(item) ? stepFault(field, item) : rangeFault(field, item)
}

function weekFault(text: string, week: string | undefined): string | undefined {
  if (week !== undefined && !/^[1-5]$/.test(week))
    return `the ${weekday.name} ${text}#${week} is of no week; say ${text}#1 to ${text}#5, or ${text}L for the last`
  return valueFault(weekday, text)
}

function stepFault(field: Field, item: string): string | undefined {
  const [range = '', step = ''] = item.split('/')
  const { name, min, max } = field
  // Sunday has two numbers.
  const count = field === weekday ? 7 : max - min + 1
  if (!/^\d+$/.test(step) || Number(step) < 1 || Number(step) > count)
    return `the ${name} ${item} has no step from 1 to ${count} behind its /`
  if (range === '*') return undefined
  if (range.includes('-')) return rangeFault(field, range)
  return valueFault(field, range) ?? `the ${name} ${item} ends nowhere; say ${range}-${max}/${step} or */${step}`
}

function rangeFault(field: Field, item: string): string | undefined {
  const { name, min, max } = field
  const [from = '', to, ...more] = item.split('-')
  if (more.length > 0) return `the ${name} ${item} is no range; say two numbers with - between them`
  const fault = valueFault(field, from)
  if (fault !== undefined || to === undefined) return fault
  const toFault = valueFault(field, to)
  if (toFault !== undefined) return toFault
  const last = field === weekday ? 6 : max
  const begin = numberOf(field, from)
  if (begin <= endOf(field, to)) return undefined
  return `the ${name} ${item} goes backward; say ${begin > last ? '' : `${from}-${last},`}${min}-${to}`
}

function valueFault(field: Field, text: string): string | undefined {
  const { name, min, max, words } = field
  if (numberOf(field, text) >= min && numberOf(field, text) <= max) return undefined
  const named = words ? `, or from ${words[0]} to ${words.at(-1)}` : ''
  return text === '' ? `the ${name} has no number on one side of -` : `the ${name} ${text} is not from ${min} to ${max}${named}`
}

/** NaN when it is none. */
function numberOf({ words, min }: Field, text: string): number {
  const at = words?.indexOf(text.toUpperCase()) ?? -1
  if (at !== -1) return at + min
  return /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
}

/** Sunday is the last day when a range ends with it. */
const endOf = (field: Field, text: string) => (field === weekday && text.toUpperCase() === 'SUN' ? 7 : numberOf(field, text))

/** In years that have a February 29. */
const daysOfMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/** Why what can be read does not come. @param said 1 for each that is said, from the first of the month, and of the year */
export function neverDetail(said: { day: readonly number[]; nearestWeekdays: readonly number[]; month: readonly number[] }): string {
  const first = said.day.findIndex((is, at) => is === 1 || said.nearestWeekdays[at] === 1) + 1
  const among = months.filter((_, at) => said.month[at] === 1)
  const isNever = first > 0 && among.every(name => (daysOfMonths[months.indexOf(name)] ?? 0) < first)
  return isNever ? `never comes: ${among.join(' and ')} ${among.length === 1 ? 'has' : 'have'} no day ${first}` : rareDetail
}

const rareDetail = 'does not come within five years'

const knownZones = new Set<string>()
const zoneMax = 64

/** @returns what is wrong with the name of a time zone */
export function zoneFault(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'must be the name of a time zone, such as Europe/Berlin'
  if (knownZones.has(name)) return undefined
  const fault = unknownZoneFault(name)
  // There are fewer than a thousand of them.
  if (fault === undefined) knownZones.add(name)
  return fault
}

function unknownZoneFault(name: string): string | undefined {
  if (name === '') return 'is empty; say UTC, or a name such as Europe/Berlin'
  if (name.length > zoneMax) return `is ${name.length} characters, and no time zone; say a name such as Europe/Berlin`
  if (/^(UTC|GMT)?[+-]\d/i.test(name))
    return `${name} is an offset, which no daylight saving changes; say the name of a zone, such as Europe/Berlin`
  const written = writtenZone(name)
  if (written !== undefined) return written === name ? undefined : `is written ${written}`
  const near = nearZone(name)
  return `${JSON.stringify(name)} is no time zone of the IANA database${near ? `; did you mean ${near}?` : '; say a name such as Europe/Berlin'}`
}

function writtenZone(name: string): string | undefined {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone
  } catch {
    return undefined
  }
}

/** Most people know the city. */
function nearZone(name: string): string | undefined {
  const zones = Intl.supportedValuesOf('timeZone')
  const city = name.replaceAll(' ', '_').toLowerCase()
  return zones.find(zone => zone.toLowerCase().endsWith(`/${city}`)) ?? nearest(name.replaceAll(' ', '_'), zones)
}
