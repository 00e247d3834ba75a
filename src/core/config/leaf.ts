import { isSecret, type TObject, type TSchema } from '../schema'

/** One setting, with the names it goes by. */
export interface Leaf {
  /** `['http', 'port']` */
  path: readonly string[]
  /** `http.port`: the key in messages, and the flag with `--` before it. */
  key: string
  /** `BINGO_HTTP_PORT` */
  variable: string
  schema: TSchema
  /** Secrets have no flag: arguments are visible to every process of the machine. */
  secret: boolean
}

/** All settings of a schema in the order in which they are declared. */
export function leaves(schema: TObject, path: readonly string[] = []): Leaf[] {
  return Object.entries(schema.properties).flatMap(([name, child]) => {
    const here = [...path, name]
    if (child['type'] === 'object') return leaves(child as unknown as TObject, here)
    return [{ path: here, key: here.join('.'), variable: variableOf(here), schema: child, secret: isSecret(child) }]
  })
}

/** `['http', 'port']` → `BINGO_HTTP_PORT` */
export const variableOf = (path: readonly string[]) =>
  `BINGO_${path
    .map(part => part.replace(/([a-z0-9])([A-Z])/g, '$1_$2'))
    .join('_')
    .toUpperCase()}`

/** The candidate nearest to what was typed, if it is near: at most a third of its letters differ. */
export function nearest(typed: string, candidates: readonly string[]): string | undefined {
  const scored = candidates.map(candidate => ({ candidate, distance: editDistance(typed, candidate) }))
  const best = scored.sort((a, b) => a.distance - b.distance)[0]
  return best && best.distance <= Math.max(2, Math.floor(typed.length / 3)) ? best.candidate : undefined
}

/** Levenshtein's distance, row by row (Wagner–Fischer). */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(change, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}
