import { defineErrors } from '@/core/error'
import { type liveSchemas, LogLevelSetting, Maintenance, SignUpSetting } from '@/core/live-settings'
import { logLevels } from '@/core/log'
import { Input, type Of, OneOf, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const settingErrors = defineErrors({
  SettingTaken: ['Aborted', 'Somebody else has changed the settings at the same moment. Try again.'],
})

/**
 * What is changed while everything runs, one setting a row. A setting that is as configured again keeps its row, with `null`: the version that
 * callers see is the sum over all rows, and would go down if one went.
 */
export const settings = defineTable(
  'setting',
  {
    name: Type.String({ maxLength: 64, description: 'As in core/live-settings.ts.' }),
    value: Type.String({ maxLength: 4000, description: 'As JSON; null is as configured.' }),
  },
  { unique: [{ columns: ['name'], taken: settingErrors.SettingTaken }] },
)
export type SettingTable = typeof settings
export type StoredSetting = RowOf<SettingTable>

const asConfigured = 'Absent when it is as configured.'
const shown = (schema: (typeof liveSchemas)[keyof typeof liveSchemas]) => ({ description: `${schema.description} ${asConfigured}` })

export const Settings = Type.Object(
  {
    maintenance: Type.Optional({ ...Maintenance, ...shown(Maintenance) }),
    signUp: Type.Optional({ ...SignUpSetting, ...shown(SignUpSetting) }),
    logLevel: Type.Optional({ ...LogLevelSetting, ...shown(LogLevelSetting) }),
    inEffect: Type.Object(
      {
        maintenance: Maintenance,
        signUp: SignUpSetting,
        logLevel: OneOf(logLevels, { description: 'Least level written.' }),
      },
      { additionalProperties: false, description: 'What holds in the process that answers, with what its own configuration says.' },
    ),
    version: Type.Integer({ minimum: 1, description: 'Goes up with each change.' }),
    updatedAt: Type.Optional(Timestamp('When one of them was last changed; absent when none ever was.')),
  },
  { additionalProperties: false },
)
export type Settings = Of<typeof Settings>

const orNull = <S extends (typeof Maintenance.properties)[keyof typeof Maintenance.properties]>(schema: S) =>
  Type.Optional(Type.Union([schema, Type.Null()], { description: `${schema.description} null removes it.` }))

const MaintenancePatch = Input({
  isOn: Type.Optional(Maintenance.properties.isOn),
  message: orNull(Maintenance.properties.message),
  retryAfterSeconds: orNull(Maintenance.properties.retryAfterSeconds),
})

export const SettingsPatch = Input(
  {
    maintenance: Type.Optional(
      Type.Union([MaintenancePatch, Type.Null()], {
        description: 'Whether the API server is closed, and what callers are told; null: it is open.',
      }),
    ),
    signUp: Type.Optional(Type.Union([SignUpSetting, Type.Null()], { description: 'open or closed; null: as configured.' })),
    logLevel: Type.Optional(
      Type.Union([LogLevelSetting, Type.Null()], {
        description: 'debug or info; null: as each process is configured, which may be quieter.',
      }),
    ),
  },
  { description: 'What to change, as a JSON Merge Patch (RFC 7396): null is as configured again.' },
)
export type SettingsPatch = Of<typeof SettingsPatch>
