import { test } from 'bun:test'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { leaves } from '@/core/config/leaf'
import { settings } from '@/core/config/settings'
import { executable } from '../bingo'

/** What the tests of the image, the compose file and the gateway have in common. */
export const root = resolve(import.meta.dir, '../../..')

const knownVariables = new Set(leaves(settings).flatMap(({ variable, secret }) => (secret ? [variable, `${variable}_FILE`] : [variable])))
export const unknownVariables = (names: readonly string[]) => names.filter(name => name.startsWith('BINGO_') && !knownVariables.has(name))

/** Runs where all of it is on the machine; elsewhere it is said aloud, and CI does without nothing. */
export function testWith(needed: Record<string, boolean>, name: string, run: () => Promise<void>, timeoutMs = 30_000) {
  const missing = Object.keys(needed).filter(what => !needed[what])
  if (missing.length === 0) test(name, run, timeoutMs)
  else if (process.env['CI'] === 'true') {
    test(name, () => {
      throw new Error(`${missing.join(' and ')} is missing, and CI skips nothing`)
    })
  } else {
    console.warn(`SKIPPED: ${name}: ${missing.join(' and ')} is missing`)
    test.skip(name, () => {})
  }
}

export const built = { 'dist/bingo (bun run build)': existsSync(executable) }
