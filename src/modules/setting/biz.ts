import { askedBy, type Asking } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import { AppError } from '@/core/error'
import { subjectOf } from '@/core/identity'
import { type LiveName, liveNames, overridesIn } from '@/core/live-settings'
import { mergePatch } from '@/core/merge-patch'
import type { Ports } from '@/core/ports'
import { type Expected, storeErrors } from '@/core/store'
import { settingErrors, type Settings, type SettingsPatch, type StoredSetting } from './schema'
import type { settingStore } from './store'

/** What it writes into the audit log. */
export const audits = ['setting.change'] as const

export type SettingBiz = ReturnType<typeof settingBiz>

/** How often a change is tried again when another is the first to change the same setting. */
const attemptsMax = 5

interface Change {
  name: LiveName
  before: unknown
  after: unknown
}

/** What administrators change while everything runs: every process knows it within `revocationMaxMs`, and this one at once. */
export function settingBiz({
  db,
  log,
  revocations,
  liveSettings,
  settings,
  audit,
}: Pick<Ports, 'db' | 'log' | 'revocations' | 'liveSettings'> & {
  settings: typeof settingStore
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}) {
  const get = async (): Promise<Settings> => view(await settings(db).all())

  /**
   * @param expected the versions that the caller has seen
   * @throws VersionMismatch, SettingTaken
   */
  async function change(patch: SettingsPatch, expected: Expected, asking: Asking): Promise<Settings> {
    const changes = await attempt(patch, expected, asking)
    if (changes.length > 0) {
      await liveSettings.refresh()
      log.info('settings were changed', { ...askedBy(asking), settings: changes.map(({ name }) => name) })
    }
    return get()
  }

  async function attempt(patch: SettingsPatch, expected: Expected, asking: Asking): Promise<Change[]> {
    for (let count = 1; ; count++) {
      try {
        return await make(patch, expected, asking)
      } catch (thrown) {
        const isRace = thrown instanceof AppError && thrown.code === settingErrors.SettingTaken().code
        if (!isRace || count === attemptsMax) throw thrown
      }
    }
  }

  const make = (patch: SettingsPatch, { versions }: Expected, asking: Asking): Promise<Change[]> =>
    db.tx(async tx => {
      const rows = await settings(tx).all()
      if (versions && !versions.includes(versionOf(rows))) throw storeErrors.VersionMismatch()
      const changes = changesIn(overridesIn(rows), patch)
      for (const { name, after = null } of changes) await settings(tx).upsert({ name, value: JSON.stringify(after) }, ['name'])
      for (const { name, before, after } of changes)
        await audit.record(tx, askedBy(asking), {
          ...entryOn('setting.change', name),
          ...(before !== undefined && { before: { [name]: before } }),
          ...(after !== undefined && { after: { [name]: after } }),
        })
      await revocations.forget(
        tx,
        changes.map(({ name }) => subjectOf('setting', name)),
      )
      return changes
    })

  function view(rows: readonly StoredSetting[]): Settings {
    const { overrides } = overridesIn(rows)
    const updatedAt = rows
      .map(row => row.updatedAt)
      .toSorted()
      .at(-1)
    return { ...overrides, inEffect: liveSettings.now(), version: versionOf(rows), ...(updatedAt !== undefined && { updatedAt }) }
  }

  return { get, change }
}

/** Of all of them: rows only ever come and change. */
const versionOf = (rows: readonly StoredSetting[]): number => rows.reduce((sum, { version }) => sum + version, 1)

/** What a patch changes; what is so already is no change. */
function changesIn({ overrides, misfits }: ReturnType<typeof overridesIn>, patch: SettingsPatch): Change[] {
  return liveNames.flatMap(name => {
    const asked = patch[name]
    if (asked === undefined) return []
    const before = overrides[name]
    const merged = asked === null ? undefined : mergePatch(before, asked)
    const after = name === 'maintenance' && merged !== undefined ? { isOn: false, ...(merged as object) } : merged
    return Bun.deepEquals(before, after) && !misfits.includes(name) ? [] : [{ name, before, after }]
  })
}
