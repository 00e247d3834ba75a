/** The regular expressions that stand in a source as literals, as `[source, flags]`. */
export function regularExpressions(text: string): [source: string, flags: string][] {
  const found: [string, string][] = []
  scan(text, 0, false, found)
  return found
}

/** What stands before a literal; before a division stands a value. */
const beforeLiteral = /(?:^|[(,=:[!&|?{};+*%<>~^-]|\b(?:return|typeof|case|in|of|void|await|yield|do|else|throw))\s*$/

/** @param isInTemplate ends at the `}` that closes it. @returns where it ended */
function scan(text: string, from: number, isInTemplate: boolean, found: [string, string][]): number {
  let depth = 0
  let at = from
  while (at < text.length) {
    const char = text[at]
    const two = text.slice(at, at + 2)
    if (two === '//') at = endOf(text, '\n', at)
    else if (two === '/*') at = endOf(text, '*/', at) + 2
    else if (char === "'" || char === '"') at = afterString(text, at)
    else if (char === '`') at = afterTemplate(text, at, found)
    else if (char === '/' && beforeLiteral.test(text.slice(Math.max(0, at - 40), at))) at = takeLiteral(text, at, found)
    else {
      if (char === '{') depth++
      if (char === '}' && depth-- === 0 && isInTemplate) return at
      at++
    }
  }
  return at
}

function endOf(text: string, what: string, from: number): number {
  const end = text.indexOf(what, from)
  return end === -1 ? text.length : end
}

function afterString(text: string, from: number): number {
  let at = from + 1
  while (at < text.length && text[at] !== text[from]) at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function afterTemplate(text: string, from: number, found: [string, string][]): number {
  let at = from + 1
  while (at < text.length && text[at] !== '`') {
    if (text.startsWith('${', at)) at = scan(text, at + 2, true, found) + 1
    else at += text[at] === '\\' ? 2 : 1
  }
  return at + 1
}

function takeLiteral(text: string, from: number, found: [string, string][]): number {
  let at = from + 1
  let isInClass = false
  while (at < text.length && (text[at] !== '/' || isInClass)) {
    if (text[at] === '\\') at++
    else if (text[at] === '[') isInClass = true
    else if (text[at] === ']') isInClass = false
    at++
  }
  const source = text.slice(from + 1, at)
  const flags = /^[a-z]*/.exec(text.slice(at + 1, at + 10))?.[0] ?? ''
  found.push([source, flags])
  return at + 1 + flags.length
}

/** The patterns that stand anywhere in a value made of schemas, such as an OpenAPI document or the exports of a file. */
export function patternsIn(value: unknown, seen = new Set<unknown>()): string[] {
  if (typeof value !== 'object' || value === null || seen.has(value)) return []
  seen.add(value)
  return Object.entries(value).flatMap(([name, part]) => {
    if (name === 'pattern' && typeof part === 'string') return [part]
    // The names of a record's members.
    const names = name === 'patternProperties' ? Object.keys(part as object) : []
    return [...names, ...patternsIn(part, seen)]
  })
}
