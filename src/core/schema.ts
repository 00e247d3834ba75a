import { FormatRegistry, Kind, type SchemaOptions, type Static, type TSchema, type TString, Type, TypeRegistry } from '@sinclair/typebox'

/**
 * The words of every schema. `Type` is TypeBox 0.34, the copy that Elysia uses; formats are registered here because TypeBox
 * knows none by itself, and a schema must mean the same before Elysia is loaded.
 */
export { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox'

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const instantPattern = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

FormatRegistry.Set('uuid', value => uuidPattern.test(value))
FormatRegistry.Set('date-time', value => instantPattern.test(value) && !Number.isNaN(Date.parse(value)))

FormatRegistry.Set('database-url', value => {
  if (value.startsWith('sqlite:')) return value.length > 'sqlite:'.length
  return value.startsWith('mysql://') && URL.canParse(value) && new URL(value).pathname.length > 1
})

export const isUuid = (value: string): boolean => uuidPattern.test(value)

/** A UUIDv7 (RFC 9562 §5.7) in lower case: sorts by the time it was made. Callers treat it as opaque. */
export const Id = (description = 'Opaque identifier.'): TString => Type.String({ format: 'uuid', description })

/** An RFC 3339 instant in UTC with milliseconds. */
export const Timestamp = (description: string): TString => Type.String({ format: 'date-time', description })

TypeRegistry.Set<{ enum: string[] }>('OneOf', (schema, value) => schema.enum.includes(value as string))

/** A string out of a few, documented as `enum`; a union of literals would be documented, and explained when wrong, as `anyOf`. */
export const OneOf = <const V extends readonly string[]>(
  values: V,
  options: SchemaOptions & { description: string; default?: V[number] },
) => Type.Unsafe<V[number]>({ ...options, [Kind]: 'OneOf', type: 'string', enum: [...values] })

/** Marks a column or setting that never appears in a view, a log, an error or `config show`. */
export const secret = <S extends TSchema>(schema: S): S => ({ ...schema, secret: true })
export const isSecret = (schema: TSchema): boolean => schema['secret'] === true

/** What a request body may be: the fields listed and no others. */
export const Input = <P extends Record<string, TSchema>>(properties: P, options: { description?: string } = {}) =>
  Type.Object(properties, { ...options, additionalProperties: false })

export type Of<S extends TSchema> = Static<S>
