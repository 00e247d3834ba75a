/** Fields of CSV as in RFC 4180: texts in quotes, quotes doubled; lines end in CR LF. What is absent has no quotes, so it can be told from an empty text. */
export function csvField(value: string | number | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'number') return String(value)
  // Most begin with a letter and have no quotes, and a search for what is not there takes the time of a field.
  const text = /^\w/.test(value) ? value : harmless(value)
  return text.includes('"') ? `"${text.replaceAll('"', '""')}"` : `"${text}"`
}

/** What spreadsheets take for the beginning of a formula, in each width, also behind blanks, which some of them cut. */
const formula = /^(?:[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\0])/

/**
 * Strangers choose texts that an administrator opens in a spreadsheet, where one that begins as a formula would be computed. An apostrophe before it
 * makes it a text (OWASP, CSV Injection; ASVS 5.0, 1.2.10). Such a field is changed: who wants it exact takes NDJSON.
 */
const harmless = (text: string) => (formula.test(text) ? `'${text}` : text)
