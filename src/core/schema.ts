import {
  FormatRegistry,
  Kind,
  type SchemaOptions,
  type Static,
  type TSchema,
  type TString,
  Type,
  TypeGuard,
  TypeRegistry,
} from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import { parseNetwork } from './address'
import type { FieldProblem } from './error'

/**
 * The words of every schema. `Type` is TypeBox 0.34, the copy that Elysia uses; formats are registered here because TypeBox
 * knows none by itself, and a schema must mean the same before Elysia is loaded.
 */
export { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const instantPattern = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

/** From the year 1000, where every database agrees. */
const datePattern = /^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/
const int64Pattern = /^(0|-?[1-9]\d{0,18})$/
const decimalPattern = /^-?(0|[1-9]\d{0,17})(\.\d{1,18})?$/
/** A day that there is: some parsers take February 30 for March 2. */
const isCalendarDate = (value: string) => {
  const ms = Date.parse(`${value}T00:00:00Z`)
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(value)
}

FormatRegistry.Set('uuid', value => uuidPattern.test(value))
FormatRegistry.Set(
  'date-time',
  value => instantPattern.test(value) && (Number(value.slice(8, 10)) < 29 || isCalendarDate(value.slice(0, 10))),
)
FormatRegistry.Set('date', value => datePattern.test(value) && isCalendarDate(value))
FormatRegistry.Set('int64', value => int64Pattern.test(value) && BigInt.asIntN(64, BigInt(value)) === BigInt(value))
FormatRegistry.Set('decimal', value => decimalPattern.test(value))

FormatRegistry.Set('database-url', value => {
  if (value.startsWith('sqlite:')) return value.length > 'sqlite:'.length
  return value.startsWith('mysql://') && URL.canParse(value) && new URL(value).pathname.length > 1
})

FormatRegistry.Set(
  'redis-url',
  value => /^rediss?:\/\/./.test(value) && URL.canParse(value) && /^\/?\d{0,3}$/.test(new URL(value).pathname),
)

FormatRegistry.Set('mail-url', value => /^smtps?:\/\/./.test(value) && URL.canParse(value) && new URL(value).hostname !== '')
FormatRegistry.Set('mail-from', value => /^([^<>@\r\n]{1,100} <[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$/.test(value))

/** Without a query or a fragment, since paths are added to it. */
FormatRegistry.Set('web-url', value => /^https?:\/\/[^?#\s]+$/.test(value) && URL.canParse(value))
/** As browsers send it: no path, no default port, no capitals. */
FormatRegistry.Set('origin', value => /^https?:\/\//.test(value) && URL.canParse(value) && new URL(value).origin === value)
FormatRegistry.Set('network', value => parseNetwork(value) !== undefined)

/** Whether a text is of one of the formats. */
export const isOfFormat = (format: 'uuid' | 'date-time' | 'date' | 'int64' | 'decimal', value: string): boolean =>
  FormatRegistry.Get(format)?.(value) === true

export const isUuid = (value: string): boolean => uuidPattern.test(value)

/** A UUIDv7 (RFC 9562 §5.7) in lower case: sorts by the time it was made. Callers treat it as opaque. */
export const Id = (description = 'Opaque identifier.'): TString => Type.String({ format: 'uuid', description })

/** An RFC 3339 instant in UTC with milliseconds. */
export const Timestamp = (description: string): TString => Type.String({ format: 'date-time', description })

/** A day of the calendar without a time: `2026-01-31`, from the year 1000 to 9999. */
export const CalendarDate = (description: string): TString => Type.String({ format: 'date', description })

/** A whole number of 64 bits as a string, since JSON numbers lose digits beyond 2^53. */
export const BigInteger = (description: string): TString => Type.String({ format: 'int64', description })

/**
 * An exact decimal as a string: `'12.50'`.
 * @param precision digits in all, 1–18
 * @param scale digits after the point, 0–precision; values are kept with exactly so many
 */
export const Decimal = (precision: number, scale: number, description: string): TString => {
  if (!(precision >= 1 && precision <= 18 && scale >= 0 && scale <= precision))
    throw new Error(`Decimal(${precision}, ${scale}): precision is from 1 to 18, scale from 0 to precision`)
  const whole = precision - scale
  const pattern = `^-?${whole > 0 ? `(0|[1-9]\\d{0,${whole - 1}})` : '0'}${scale > 0 ? `(\\.\\d{1,${scale}})?` : ''}$`
  return Type.String({ format: 'decimal', pattern, precision, scale, description })
}

/** Any JSON value of this schema, kept as one column. */
export const Json = <S extends TSchema>(schema: S): S => ({ ...schema, column: 'json' })

/** Bytes, up to so many. */
export const Bytes = (maxByteLength: number, description: string) => Type.Uint8Array({ maxByteLength, description })

TypeRegistry.Set<{ enum: string[] }>('OneOf', (schema, value) => schema.enum.includes(value as string))

/** A string out of a few, documented as `enum`; a union of literals would be documented, and explained when wrong, as `anyOf`. */
export const OneOf = <const V extends readonly string[]>(
  values: V,
  options: SchemaOptions & { description: string; default?: V[number] },
) => Type.Unsafe<V[number]>({ ...options, [Kind]: 'OneOf', type: 'string', enum: [...values] })

/** Marks a column or setting that never appears in a view, a log, an error or `config show`. */
export const secret = <S extends TSchema>(schema: S): S => ({ ...schema, secret: true })
export const isSecret = (schema: TSchema): boolean => schema['secret'] === true

/** Whether it may be left out, which documents do not say of the schema itself. */
export const isOptional = (schema: TSchema): boolean => TypeGuard.IsOptional(schema)

/** What a request body may be: the fields listed and no others. */
export const Input = <P extends Record<string, TSchema>>(properties: P, options: { description?: string } = {}) =>
  Type.Object(properties, { ...options, additionalProperties: false })

/** Which page of a list is asked for (AIP-158). */
export interface PageQuery {
  pageSize?: number
  pageToken?: string
}

/** A page of a list. */
export const Page = <S extends TSchema>(item: S) =>
  Type.Object(
    { items: Type.Array(item), nextPageToken: Type.String({ description: 'Empty on the last page.' }) },
    { additionalProperties: false },
  )

/** A check of values against a schema, compiled once. It returns what is wrong, without the value, or undefined. */
export function validatorOf(schema: TSchema): (value: unknown) => string | undefined {
  const compiled = TypeCompiler.Compile(schema)
  return value => (compiled.Check(value) ? undefined : (compiled.Errors(value).First()?.message ?? 'does not fit'))
}

/** At most so many faults are named; more help nobody. */
const faultsMax = 50

/** What is wrong with each field of a value, without the value: slow, so it is asked once something is. */
export function faultsOf(schema: TSchema, value: unknown): FieldProblem[] {
  const faults = new Map<string, FieldProblem>()
  for (const { path, message, schema: part } of Value.Errors(schema, value)) {
    if (faults.size >= faultsMax) break
    if (!faults.has(path)) faults.set(path, { pointer: path, detail: explained(message, part) })
  }
  return [...faults.values()]
}

/** A pattern, a union or a kind of ours explains itself to nobody; its description, or its values, do. */
export function explained(message: string, schema: TSchema): string {
  if (schema['enum']) return `Expected one of ${(schema['enum'] as string[]).join(', ')}`
  const isOpaque = schema['pattern'] !== undefined || schema['anyOf'] !== undefined
  if (isOpaque && schema.description) return `Expected: ${schema.description}`
  return message
}

export type Of<S extends TSchema> = Static<S>
