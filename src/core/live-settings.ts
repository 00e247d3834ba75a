import type { Config } from './config/settings'
import type { logLevels } from './log'
import { Input, type Of, OneOf, Type, validatorOf } from './schema'

/**
 * What administrators change while everything runs: in every process that has a database, within `revocationMaxMs`. A change goes
 * PATCH /admin/v1/settings → row of `setting` → `revocations.forget('setting:…')` → epoch → Rememberer of infra/live-settings → `follow`.
 */

export const defaultRetryAfterSeconds = 300

export const Maintenance = Input(
  {
    isOn: Type.Boolean({ description: 'Whether the API server is closed.' }),
    message: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 500,
        pattern: '^[^\\u0000-\\u001f\\u007f]*$',
        description: 'What callers are told, 1–500 characters without control characters.',
        examples: ['We are moving to larger servers until 14:00 UTC.'],
      }),
    ),
    retryAfterSeconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 86_400, description: `When callers may try again; ${defaultRetryAfterSeconds} when absent.` }),
    ),
  },
  { description: 'The API server answers 503 while it is on. Its health, documents and public keys are still there.' },
)
export type Maintenance = Of<typeof Maintenance>

export const SignUpSetting = OneOf(['open', 'closed'], { description: 'Whether anybody may sign up.' })

/** To be quieter than that is for the configuration alone: what administrators do, and where the audit log ends, are lines of this level. */
export const LogLevelSetting = OneOf(['debug', 'info'], { description: 'Least level written by all processes.' })

/** Each setting by its name, as it is stored. What is absent is as every process is configured. */
export const liveSchemas = { maintenance: Maintenance, signUp: SignUpSetting, logLevel: LogLevelSetting }
export type LiveName = keyof typeof liveSchemas
export const liveNames = Object.keys(liveSchemas) as LiveName[]

export interface LiveOverrides {
  maintenance?: Maintenance
  signUp?: Of<typeof SignUpSetting>
  logLevel?: Of<typeof LogLevelSetting>
}

/** What holds in a process. */
export interface LiveValues {
  readonly maintenance: Readonly<Maintenance>
  readonly signUp: Of<typeof SignUpSetting>
  readonly logLevel: (typeof logLevels)[number]
}

export interface LiveSettings {
  /** As this process knows it, from memory; also while the database is away. Another object after each change. */
  now(): LiveValues
  /**
   * Reads again what is stored. Whoever has changed it calls it after the commit, so that here it holds at once. It never fails: what
   * cannot be read now is read as soon as it can be.
   */
  refresh(): Promise<void>
}

/** What holds where nothing is stored. */
export const configuredValues = ({ account, log }: Pick<Config, 'account' | 'log'>): LiveValues => ({
  maintenance: { isOn: false },
  signUp: account.signUp,
  logLevel: log.level,
})

/** What of a row of the table `setting` is read; the module setting writes it. */
export interface SettingRow {
  name: string
  /** As JSON; `null` is as configured. */
  value: string
}

let made: Map<string, (value: unknown) => string | undefined> | undefined
/** Compiled when something is stored: a process that knows of nothing starts sooner. */
const validators = () => {
  made ??= new Map(liveNames.map(name => [name, validatorOf(liveSchemas[name])]))
  return made
}

/**
 * What is stored, as far as it is what this version knows: another one may have other settings, or other values.
 * @returns besides, the names of those that are not
 */
export function overridesIn(rows: readonly SettingRow[]): { overrides: LiveOverrides; misfits: string[] } {
  const overrides: Record<string, unknown> = {}
  const misfits: string[] = []
  for (const { name, value } of rows) {
    if (value === 'null') continue
    const parsed = parsedOr(value)
    const problemOf = validators().get(name)
    if (!problemOf || problemOf(parsed) !== undefined) misfits.push(name)
    else overrides[name] = parsed
  }
  return { overrides: overrides as LiveOverrides, misfits }
}

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
