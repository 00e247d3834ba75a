/**
 * Payloads are kept as JSON, so what comes back must be what was given: a value that JSON leaves out, turns into something else or
 * cannot write is refused when it is enqueued, not found missing by a handler days later.
 */

/** Deeper than anything a person writes; what holds itself is deeper than any number. */
const depthMax = 64

/** @returns where, as a JSON Pointer (RFC 6901), and what JSON cannot say there; undefined when all comes back as it is */
export function faultOfJson(value: unknown): { pointer: string; detail: string } | undefined {
  const path: (string | number)[] = []
  const detail = faultIn(value, path)
  return detail === undefined ? undefined : { pointer: pointerOf(path), detail }
}

/** @param path where it is; left at the fault, when there is one */
function faultIn(value: unknown, path: (string | number)[]): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : `${value} is no number of JSON`
    case 'object':
      return value === null ? undefined : faultWithin(value, path)
    default:
      return `${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`} cannot be said in JSON${typeof value === 'undefined' ? '; leave the field out, or say null' : ''}`
  }
}

function faultWithin(value: object, path: (string | number)[]): string | undefined {
  if (path.length >= depthMax) return `is deeper than ${depthMax} levels, or holds itself`
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      path.push(i)
      const fault = faultIn(value[i], path)
      if (fault !== undefined) return fault
      path.pop()
    }
    return undefined
  }
  const prototype = Object.getPrototypeOf(value)
  // Dates, maps and the like come back as something else, if at all.
  if (prototype !== Object.prototype && prototype !== null)
    return `a ${value.constructor?.name ?? 'class'} comes back from JSON as something else`
  for (const name in value) {
    path.push(name)
    const fault = faultIn((value as Record<string, unknown>)[name], path)
    if (fault !== undefined) return fault
    path.pop()
  }
  return undefined
}

const pointerOf = (path: readonly (string | number)[]) =>
  path.map(part => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

/** What was written as JSON once; undefined when it was damaged since. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** One spelling for equal values, in whatever order their fields were given. @param value one that `faultOfJson` finds no fault with */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(',')}}`
}
