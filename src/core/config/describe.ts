import type { TSchema } from '../schema'
import { leaves } from './leaf'
import type { LoadedConfig } from './load'
import { settings } from './settings'

/** The lines of `--help` about settings. */
export function settingsHelp(): string {
  const rows = leaves(settings)
    .filter(leaf => leaf.key !== 'role')
    .map(
      leaf =>
        [leaf.secret ? leaf.key : `--${leaf.key}`, leaf.variable, `${leaf.schema.description ?? ''}${fallback(leaf.schema)}`] as const,
    )
  const width = (column: 0 | 1) => Math.max(...rows.map(row => row[column].length))
  return rows.map(([flag, variable, text]) => `  ${flag.padEnd(width(0))}  ${variable.padEnd(width(1))}  ${text}`).join('\n')
}

const fallback = (schema: TSchema) => (schema.default === undefined ? '' : ` [${schema.default}]`)

/** A TOML file that says every setting with its default, its limits and its variable. */
export function exampleFile(): string {
  const lines = [
    '# Every setting of bingo, at its default. Made from the schema by: bingo config example',
    '# Flags stand over the environment, the environment over this file. Secrets are better in NAME_FILE variables.',
  ]
  let section = ''
  for (const { path, schema, variable, secret } of leaves(settings)) {
    const [first = '', name = first] = path
    if (path.length > 1 && first !== section) {
      section = first
      lines.push('', `# ${settings.properties[first as keyof typeof settings.properties].description}`, `[${section}]`)
    } else {
      lines.push('')
    }
    lines.push(`# ${schema.description}${range(schema)}`, `# ${variable}${secret ? ` or ${variable}_FILE` : ''}`)
    lines.push(schema.default === undefined ? `# ${name} =` : `${name} = ${JSON.stringify(schema.default)}`)
  }
  return `${lines.join('\n')}\n`
}

function range(schema: TSchema): string {
  if (schema['enum']) return ` One of ${(schema['enum'] as string[]).join(', ')}.`
  return schema['minimum'] === undefined ? '' : ` ${schema['minimum']} to ${schema['maximum']}.`
}

/** Each setting in force with where it comes from; secrets masked. */
export function shownSettings({ config, sources }: LoadedConfig): { key: string; value: unknown; source: string }[] {
  return leaves(settings).map(({ key, path, secret }) => {
    const value = path.reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part], config)
    return { key, value: secret ? masked(value) : value, source: sources.get(key) ?? 'default' }
  })
}

/** A URL without its password, so that one still sees where it leads; anything else as dots. */
export function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked)
  if (typeof value !== 'string') return value
  if (value.startsWith('sqlite:')) return value
  if (!URL.canParse(value)) return '••••'
  const url = new URL(value)
  return `${url.protocol}//${url.username ? `${url.username}:••••@` : ''}${url.host}${url.pathname}`
}
