/** What the tests read of an OpenAPI document. */
export interface JsonSchema {
  type?: string | string[]
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: boolean | JsonSchema
  items?: JsonSchema
  enum?: unknown[]
  const?: unknown
  anyOf?: JsonSchema[]
  examples?: unknown[]
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  pattern?: string
  format?: string
  $ref?: string
}

export interface Operation {
  operationId: string
  parameters?: { name: string; in: string; schema?: JsonSchema }[]
  requestBody?: { content: Record<string, { schema: JsonSchema }> }
  responses: Record<string, { content?: Record<string, { schema?: JsonSchema }> }>
}

export interface ApiDocument {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, JsonSchema> }
}

/** Where a value breaks a schema: its pointer and why; undefined when it does not. */
export function breach(document: ApiDocument, schema: JsonSchema | undefined, value: unknown, at = ''): string | undefined {
  if (!schema) return undefined
  if (schema.$ref) return breach(document, document.components.schemas[schema.$ref.split('/').at(-1) ?? ''], value, at)
  if (schema.anyOf)
    return schema.anyOf.some(each => breach(document, each, value, at) === undefined) ? undefined : `${at}: none of its kinds`
  if (schema.enum && !schema.enum.includes(value)) return `${at}: ${JSON.stringify(value)} is none of its values`
  if ('const' in schema && schema.const !== value) return `${at}: another constant`
  const types = schema.type === undefined ? [] : [schema.type].flat()
  if (types.length > 0 && !types.some(type => isOf(type, value)))
    return `${at}: ${JSON.stringify(value)?.slice(0, 80)} is no ${types.join(' or ')}`
  if (typeof value === 'string') return textBreach(schema, value, at)
  if (typeof value === 'number') {
    const isWithin = value >= (schema.minimum ?? value) && value <= (schema.maximum ?? value)
    return isWithin ? undefined : `${at}: ${value} is out of range`
  }
  if (Array.isArray(value)) return first(value.map((item, i) => breach(document, schema.items, item, `${at}/${i}`)))
  if (typeof value !== 'object' || value === null) return undefined
  const { properties = {}, required = [], additionalProperties } = schema
  const missing = required.find(name => !Object.hasOwn(value, name))
  if (missing !== undefined) return `${at}/${missing}: is missing`
  return first(
    Object.entries(value).map(([name, inner]) => {
      if (Object.hasOwn(properties, name)) return breach(document, properties[name], inner, `${at}/${name}`)
      if (additionalProperties === false) return `${at}/${name}: is not in the document`
      return typeof additionalProperties === 'object' ? breach(document, additionalProperties, inner, `${at}/${name}`) : undefined
    }),
  )
}

const first = (found: readonly (string | undefined)[]) => found.find(each => each !== undefined)

function textBreach({ minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern }: JsonSchema, value: string, at: string) {
  if (value.length < minLength || value.length > maxLength) return `${at}: ${value.length} characters`
  return pattern !== undefined && !new RegExp(pattern, 'u').test(value) ? `${at}: not as its pattern says` : undefined
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  return typeof value === type
}
