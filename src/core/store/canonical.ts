import { type Column, fixedDecimal } from '../column'
import type { FieldProblem } from '../error'
import { validatorOf } from '../schema'
import type { AnyTable } from '../table'
import { storeErrors } from './contract'
import { isStorable } from './value'

/** Values as they will be read again: checked, in their one spelling, and no longer shared with the caller. */
export interface Canonical {
  /**
   * The values of a new row.
   * @throws storeErrors.Value with one problem a column; its detail never holds the value
   */
  row(values: object): Record<string, unknown>
  /** The values that a patch sets; null where it removes one. Columns that are undefined in it stay as they are. */
  patch(values: object): Record<string, unknown>
}

const kept = new Set(['id', 'createdAt', 'updatedAt', 'version', 'deletedAt'])

export function canonicalOf(table: AnyTable): Canonical {
  const own = (table.columns as readonly Column[]).filter(({ name }) => !kept.has(name))
  const names = new Set(own.map(({ name }) => name))
  // Compiled at the first write: a process that only reads does not pay.
  let fits: Map<string, (value: unknown) => string | undefined> | undefined

  const problemOf = (column: Column, value: unknown): string | undefined => {
    fits ??= new Map(own.map(each => [each.name, validatorOf(each.schema)]))
    if (!isStorable(column.kind, value, column.scale)) return `is not a ${column.kind} that can be stored`
    return fits.get(column.name)?.(value)
  }

  const refuseUnknown = (values: object) => {
    for (const name of Object.keys(values)) {
      if (!names.has(name)) throw new Error(`table ${table.name} has no column ${name.slice(0, 64)} that can be written`)
    }
  }

  const refuse = (problems: FieldProblem[]) => {
    if (problems.length > 0) throw storeErrors.Value({ problems })
  }

  return {
    row(values) {
      refuseUnknown(values)
      const problems: FieldProblem[] = []
      const made: Record<string, unknown> = {}
      for (const column of own) {
        const value = (values as Record<string, unknown>)[column.name]
        if (value === undefined || value === null) {
          if (!column.isOptional) problems.push({ pointer: `/${column.name}`, detail: 'is missing' })
          continue
        }
        const problem = problemOf(column, value)
        if (problem) problems.push({ pointer: `/${column.name}`, detail: problem })
        else made[column.name] = spelled(column, value)
      }
      refuse(problems)
      return made
    },
    patch(values) {
      refuseUnknown(values)
      const problems: FieldProblem[] = []
      const made: Record<string, unknown> = {}
      for (const column of own) {
        const value = (values as Record<string, unknown>)[column.name]
        if (value === undefined) continue
        const problem = value === null ? (column.isOptional ? undefined : 'cannot be removed') : problemOf(column, value)
        if (problem) problems.push({ pointer: `/${column.name}`, detail: problem })
        else made[column.name] = value === null ? null : spelled(column, value)
      }
      refuse(problems)
      return made
    },
  }
}

function spelled({ kind, scale = 0 }: Column, value: unknown): unknown {
  if (kind === 'integer' || kind === 'float') return (value as number) + 0
  if (kind === 'decimal') return fixedDecimal(value as string, scale)
  if (kind === 'json') return JSON.parse(JSON.stringify(value))
  if (kind === 'binary') return new Uint8Array(value as Uint8Array)
  return value
}
