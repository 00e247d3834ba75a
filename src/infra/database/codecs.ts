import { toTimestamp } from '@/core/clock'
import { fixedDecimal } from '@/core/column'
import type { Codec, Dialect } from '@/core/database'

/** How values are stored where a database has no such type, or gives it back in another form. */

/** No database here has a boolean of its own that comes back as one. */
const boolean: Codec = {
  encode: (value: boolean) => (value ? 1 : 0),
  decode: (stored: number) => stored === 1,
}

/** JSON has no minus zero, and neither has a column. */
const float: Codec = {
  encode: (value: number) => value + 0,
  decode: (stored: number | string) => Number(stored),
}

const binary: Codec = {
  encode: (value: Uint8Array) => value,
  // A Buffer that shares the memory of the whole answer would keep it.
  decode: (stored: Uint8Array) => new Uint8Array(stored),
}

const json: Codec = {
  encode: (value: unknown) => JSON.stringify(value),
  decode: (stored: string) => JSON.parse(stored),
}

/** Rows that are written together have one time, often twice, and putting it in another form takes as long as all else of a row. */
function convertedOnce<T>(convert: (timestamp: string) => T): (timestamp: string) => T {
  let text = ''
  let converted: T
  return timestamp => {
    if (timestamp !== text) {
      text = timestamp
      converted = convert(timestamp)
    }
    return converted
  }
}

export const serverCodecs: Dialect['codecs'] = {
  // DATETIME(3) in UTC. Written as text and read as milliseconds: no Date, so no time zone can slip in, and the server counts faster
  // than the driver puts the text together.
  timestamp: {
    encode: convertedOnce(value => `${value.slice(0, 10)} ${value.slice(11, 23)}`),
    decode: toTimestamp,
    select: name => `timestampdiff(microsecond, '1970-01-01', ${name}) div 1000`,
  },
  boolean,
  float,
  binary,
  json,
  // The driver gives a string only beyond 2^53.
  bigint: { encode: (value: string) => value, decode: (stored: string | number) => String(stored), placeholder: () => 'cast(? as signed)' },
  // A text would be compared as a float.
  decimal: {
    encode: (value: string, { scale = 0 }) => fixedDecimal(value, scale),
    decode: (stored: string) => stored,
    placeholder: ({ precision = 18, scale = 0 }) => `cast(? as decimal(${precision},${scale}))`,
  },
}

export const sqliteCodecs: Dialect['codecs'] = {
  timestamp: {
    encode: convertedOnce(Date.parse),
    decode: toTimestamp,
  },
  boolean,
  float,
  binary,
  json,
  // As text, since the driver rounds integers beyond 2^53.
  bigint: { encode: (value: string) => BigInt(value), decode: (stored: string) => stored, select: name => `cast(${name} as text)` },
  // In units of the last digit: SQLite has no exact decimal, and so they compare and sum as they should.
  decimal: {
    encode: (value: string, { scale = 0 }) => BigInt(fixedDecimal(value, scale).replace('.', '')),
    decode: (stored: string, { scale = 0 }) => {
      const sign = stored.startsWith('-') ? '-' : ''
      const digits = stored.slice(sign.length).padStart(scale + 1, '0')
      return scale > 0 ? `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}` : stored
    },
    select: name => `cast(${name} as text)`,
  },
}
