import { Value } from '@sinclair/typebox/value'
import { exitCodes, StartError } from '../error'
import type { TSchema } from '../schema'
import { type Leaf, leaves, nearest } from './leaf'
import { contradictions } from './contradictions'
import { type Config, settings } from './settings'

export interface ConfigSources {
  /** The parsed configuration file. */
  file?: { name: string; content: unknown }
  env: Readonly<Record<string, string | undefined>>
  /** `http.port` → value, as given on the command line. */
  flags: Readonly<Record<string, string>>
  /** Reads the file that a `…_FILE` variable names. Throws when it cannot. */
  readFile(path: string): string
}

export interface LoadedConfig {
  config: Config
  /** `http.port` → `env BINGO_HTTP_PORT` */
  sources: ReadonlyMap<string, string>
}

interface Found {
  value: unknown
  source: string
}

/**
 * Reads the settings: flags over environment over file over defaults. All that is wrong is reported at once, each with its
 * source.
 * @throws StartError with exit code 78
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const problems = unknownKeys(sources)
  const found = new Map<string, string>()
  const config: Record<string, unknown> = {}
  for (const leaf of leaves(settings)) {
    try {
      const value = lookUp(leaf, sources)
      found.set(leaf.key, value?.source ?? 'default')
      if (value) put(config, leaf.path, check(leaf, value))
      else if (leaf.schema.default !== undefined) put(config, leaf.path, leaf.schema.default)
      else put(config, leaf.path, undefined)
    } catch (thrown) {
      problems.push(`${leaf.key}: ${(thrown as Error).message}`)
    }
  }
  if (problems.length === 0) problems.push(...contradictions(config as Config))
  if (problems.length > 0) {
    const list = problems.map(problem => `  ${problem}`).join('\n')
    throw new StartError(
      `the configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n${list}\nSee 'bingo config example' for every setting.`,
      exitCodes.configuration,
    )
  }
  return { config: Object.freeze(config) as Config, sources: found }
}

function lookUp(leaf: Leaf, { flags, env, file, readFile }: ConfigSources): Found | undefined {
  const flag = flags[leaf.key]
  // A URL without a password may be a flag, although the setting is a secret.
  if (flag !== undefined && leaf.secret && !isHarmless(leaf.schema, flag)) {
    throw new Error(
      `is a secret, and arguments are visible to every process; use ${leaf.variable}, ${leaf.variable}_FILE or the config file`,
    )
  }
  if (flag !== undefined) return { value: parse(leaf.schema, flag), source: `flag --${leaf.key}` }

  const variable = env[leaf.variable]
  const fileVariable = leaf.secret ? env[`${leaf.variable}_FILE`] : undefined
  if (variable && fileVariable) throw new Error(`both ${leaf.variable} and ${leaf.variable}_FILE are set; keep one`)
  // An empty variable is an unset one: that is how compose files and shells pass "nothing".
  if (variable) return { value: parse(leaf.schema, variable), source: `env ${leaf.variable}` }
  if (fileVariable) {
    try {
      return { value: parse(leaf.schema, readFile(fileVariable).trim()), source: `env ${leaf.variable}_FILE` }
    } catch (thrown) {
      throw new Error(`the file that ${leaf.variable}_FILE names cannot be read: ${(thrown as Error).message}`)
    }
  }
  const value = leaf.path.reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part], file?.content)
  return value === undefined || !file ? undefined : { value, source: `file ${file.name}` }
}

function isHarmless(schema: TSchema, flag: string): boolean {
  if (schema['type'] === 'array') return listed(flag).every(item => isHarmless(schema['items'], item))
  if (schema['format'] !== 'database-url' && schema['format'] !== 'redis-url') return false
  return flag.startsWith('sqlite:') || (URL.canParse(flag) && new URL(flag).password === '')
}

const listed = (text: string) => text.split(',').map(item => item.trim())

/** Text as the setting's type, or the text itself where it is none, so that the check below names it. */
function parse(schema: TSchema, text: string): unknown {
  if (schema['type'] === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (schema['type'] === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  if (schema['type'] === 'array') return listed(text)
  return text
}

function check(leaf: Leaf, { value, source }: Found): unknown {
  if (Value.Check(leaf.schema, value)) return value
  const got = leaf.secret ? '' : `, not ${JSON.stringify(value)}`
  throw new Error(`must be ${expected(leaf.schema)}${got} (${source})`)
}

function expected(schema: TSchema): string {
  if (schema['enum']) return `one of ${(schema['enum'] as string[]).join(', ')}`
  if (schema['type'] === 'integer') return `an integer from ${schema['minimum']} to ${schema['maximum']}`
  if (schema['type'] === 'boolean') return 'true or false'
  return `text: ${schema.description ?? ''}`.replace(/\.$/, '')
}

/** What a file or the command line names and no setting is called: most often a slip of the finger. */
function unknownKeys({ file, flags }: ConfigSources): string[] {
  const known = leaves(settings).map(leaf => leaf.key)
  const inFile = [...keysOf(file?.content)].map(key => ({ key, source: `file ${file?.name}` }))
  const inFlags = Object.keys(flags).map(key => ({ key, source: `flag --${key}` }))
  return [...inFlags, ...inFile]
    .filter(({ key }) => !known.includes(key))
    .map(({ key, source }) => {
      const near = nearest(key, known)
      return `${key}: there is no such setting${near ? `; did you mean ${near}?` : ''} (${source})`
    })
}

function* keysOf(node: unknown, path: readonly string[] = []): Generator<string> {
  if (typeof node !== 'object' || node === null || Array.isArray(node)) {
    if (path.length > 0) yield path.join('.')
    return
  }
  for (const [name, child] of Object.entries(node)) yield* keysOf(child, [...path, name])
}

/** Sets the value at a path; without one, only makes the sections above it. */
function put(target: Record<string, unknown>, path: readonly string[], value: unknown) {
  const [first = '', ...rest] = path
  if (rest.length === 0) {
    if (value !== undefined) target[first] = value
    return
  }
  target[first] ??= {}
  put(target[first] as Record<string, unknown>, rest, value)
}
