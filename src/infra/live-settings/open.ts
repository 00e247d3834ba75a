import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import {
  configuredValues,
  type LiveSettings,
  liveNames,
  type LiveOverrides,
  type LiveValues,
  overridesIn,
  type SettingRow,
} from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Service } from '@/core/service'
import type { Rememberer } from '../identity/epoch'

/** What administrators change while everything runs, as this process learns it: with the epoch, as it learns what is revoked. */
export interface OpenLiveSettings {
  liveSettings: LiveSettings
  /** Told by the epoch. */
  rememberer: Rememberer
  /** Has read what is stored before what is started after it. */
  service: Service
  /** Called at once, and after each change. */
  follow(listener: (values: LiveValues) => void): void
}

interface LiveSettingsLimits {
  /** After a read that has failed. What was known holds until then. */
  retryAfterMs: number
}

/** Asks nothing of the database before it is started, or told of a change. */
export function openLiveSettings(
  db: Database,
  config: Pick<Config, 'account' | 'log'>,
  log: Log,
  { retryAfterMs }: LiveSettingsLimits = { retryAfterMs: 500 },
): OpenLiveSettings {
  const configured = configuredValues(config)
  const listeners: ((values: LiveValues) => void)[] = []
  let values = configured
  let reading: Promise<void> | undefined
  let nextReading: Promise<void> | undefined
  let timer: Timer | undefined
  let isStopped = false
  let isFailing = false
  let misfitsSaid = ''

  async function read(): Promise<void> {
    try {
      const rows = await db.all('select "name", "value" from "setting"', [], { from: 'primary' })
      if (isFailing) log.info('the settings can be read again')
      isFailing = false
      hold(rows as unknown as SettingRow[])
    } catch (err) {
      if (!isFailing) log.warn('the settings cannot be read; what was known of them holds', { err })
      isFailing = true
      clearTimeout(timer)
      if (!isStopped) timer = setTimeout(refresh, retryAfterMs)
    }
  }

  /** One read at a time, so that an older answer never follows a newer one. Those who ask meanwhile share the next. */
  function refresh(): Promise<void> {
    if (!reading) {
      reading = read().finally(() => {
        reading = undefined
      })
      return reading
    }
    nextReading ??= reading.then(() => {
      nextReading = undefined
      return refresh()
    })
    return nextReading
  }

  function hold(rows: readonly SettingRow[]): void {
    const { overrides, misfits } = overridesIn(rows)
    if (misfits.length > 0 && misfits.join() !== misfitsSaid)
      log.warn('settings are stored that do not fit, perhaps by another version, and are as configured here', { settings: misfits })
    misfitsSaid = misfits.join()
    const next = { ...configured, ...overrides }
    if (Bun.deepEquals(next, values)) return
    // Before it takes effect: the level of the log may be one of them.
    log.info('the settings have changed', saidOf(overrides, next))
    values = next
    for (const listener of listeners) listener(values)
  }

  return {
    liveSettings: { now: () => values, refresh },
    rememberer: {
      forget(subjects) {
        if (subjects.some(subject => subject.startsWith('setting:'))) void refresh()
      },
      forgetAll: () => void refresh(),
    },
    service: {
      name: 'settings',
      start: refresh,
      async stop() {
        isStopped = true
        clearTimeout(timer)
        await (nextReading ?? reading)
      },
    },
    follow(listener) {
      listeners.push(listener)
      listener(values)
    },
  }
}

/** With those that are as configured. */
const saidOf = (overrides: LiveOverrides, { maintenance, signUp, logLevel }: LiveValues) => ({
  maintenance: maintenance.isOn,
  signUp,
  logLevel,
  configured: liveNames.filter(name => overrides[name] === undefined),
})
