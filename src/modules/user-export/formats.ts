import { type ExportedUser, exportedColumns, type Format } from './schema'

/** How users stand in a file. */
export interface FileFormat {
  readonly mediaType: string
  readonly extension: string
  /** What the file begins with. */
  readonly head: string
  readonly line: (user: ExportedUser) => string
}

/**
 * CSV as in RFC 4180: texts in quotes, quotes doubled, lines that end in CR LF, UTF-8. NDJSON: what the API shows of a user, one a line.
 */
export const formats: Readonly<Record<Format, FileFormat>> = {
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    extension: 'csv',
    head: `${exportedColumns.join(',')}\r\n`,
    line: user => `${exportedColumns.map(column => csvField(user[column])).join(',')}\r\n`,
  },
  ndjson: { mediaType: 'application/x-ndjson', extension: 'ndjson', head: '', line: user => `${JSON.stringify(user)}\n` },
}

/** What is absent has no quotes, so that it can be told from an empty text. */
function csvField(value: string | number | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'number') return String(value)
  // Most begin with a letter and have no quotes, and a search for what is not there takes the time of a field.
  const text = /^\w/.test(value) ? value : harmless(value)
  return text.includes('"') ? `"${text.replaceAll('"', '""')}"` : `"${text}"`
}

/** What spreadsheets take for the beginning of a formula, in each width, also behind blanks, which some of them cut. */
const formula = /^(?:[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\0])/

/**
 * Whoever signs up chooses texts that an administrator opens in a spreadsheet, where one that begins as a formula would be computed. An
 * apostrophe before it makes it a text (OWASP, CSV Injection; ASVS 5.0, 1.2.10). Such a field is changed: who wants it exact takes NDJSON.
 */
const harmless = (text: string) => (formula.test(text) ? `'${text}` : text)
