/** Text as Discord takes it: https://discord.com/developers/docs/reference#message-formatting */

/** Of a message, in UTF-16 units, which is no more than Discord counts. */
export const messageMax = 2000

/** What Discord would show as formatting, as a mention or as an emoji. A backslash before any sign makes it a sign. */
const special = /[\\*_~`|<[]|@(?=everyone|here)/g
/** What begins a heading, a quotation or a list. */
const leading = /^([ \t]*)([#>+-])/gm
/** Nothing is formatted in a link, and a backslash would be a part of it. The signs of RFC 3986, but for those that Discord ends one with. */
const link = /https?:\/\/[\w.~:/?#@!$&'()+,;=%-]+/g

/** Plain text as a message that shows it as it is. What does not fit is cut. */
export function messageOf(text: string): string {
  const pieces = piecesOf(text.toWellFormed().replaceAll('\0', '').trim())
  let message = ''
  for (const [i, piece] of pieces.entries()) {
    const room = messageMax - message.length - (i === pieces.length - 1 ? 0 : 1)
    if (piece.length > room) return `${message}…`
    message += piece
  }
  return message || '…'
}

/** What may be cut between: characters, with the backslash before them. */
function piecesOf(text: string): string[] {
  const pieces: string[] = []
  let at = 0
  const plain = (part: string) => pieces.push(...(escaped(part).match(/\\?[\s\S]/gu) ?? []))
  for (const { index, 0: found } of text.matchAll(link)) {
    plain(text.slice(at, index))
    pieces.push(...found)
    at = index + found.length
  }
  plain(text.slice(at))
  return pieces
}

const escaped = (text: string): string => text.replace(special, '\\$&').replace(leading, '$1\\$2')

/** What a stranger has written, without what no text has: cut between characters. @param max in UTF-16 units */
export function bounded(text: string, max: number): string {
  const clean = text.toWellFormed().replaceAll('\0', '')
  return clean.length <= max ? clean : clean.slice(0, max).replace(/[\uD800-\uDBFF]$/, '')
}
