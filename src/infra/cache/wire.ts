import type { CacheRule } from '@/core/cache'
import type { Cipher } from '@/core/seal'

/** How keys, values and messages look in Redis. What belongs to a secret rule is readable nowhere there. */
export interface Wire {
  /** The keys of an entry and of its lease on one server. */
  keysOf(runId: string, key: string, isSecret: boolean): [entry: string, lease: string]
  channelOf(runId: string): string
  /** @returns undefined when it is too long to be kept */
  dataOf<T>(key: string, value: T | undefined, rule: CacheRule<T>): string | undefined
  /** @throws Error when it was not written by us, or by a version of us that packs otherwise */
  valueOf<T>(key: string, data: string, rule: CacheRule<T>): T | undefined
  messageOf(from: string, keys: readonly string[]): string
  /** @returns undefined when it is not ours to read */
  readMessage(message: string): { from: string; keys: string[] } | undefined
}

/** Data of an entry that says a version and no more. */
export const versionOnly = 'f'
/** Data of a row that is not there. */
export const absent = 'n'

/** Longer keys are replaced by their digest. */
const keyBytesMax = 200
/** Longer values are not kept: they would hold up the server and everybody on it. */
const dataCharactersMax = 1024 * 1024

export function createWire(cipher: Cipher): Wire {
  // Of the root key: another installation on the same server must not take our rows for its own.
  const installation = cipher.digest('installation').slice(0, 8)

  /**
   * The server's run id is part of every key. A server that was started again from an old snapshot has old copies, of before
   * writes that it has forgotten; its run id is new, so nobody finds them.
   */
  const prefixOf = (runId: string) => `bingo:cache:${runId}:${installation}:`
  // One begins with another sign than the other, so that none is taken for another.
  const nameOf = (key: string, isSecret: boolean) =>
    isSecret || Buffer.byteLength(key) > keyBytesMax ? `#${cipher.digest(key)}` : `:${key}`

  return {
    keysOf(runId, key, isSecret) {
      const name = nameOf(key, isSecret)
      return [`${prefixOf(runId)}copy${name}`, `${prefixOf(runId)}lease${name}`]
    },
    channelOf: runId => `${prefixOf(runId)}changed`,
    dataOf(key, value, rule) {
      if (value === undefined) return absent
      const text = rule.pack(value)
      if (text.length > dataCharactersMax) return undefined
      return rule.isSecret ? `s${cipher.close(text, key)}` : `v${text}`
    },
    valueOf(key, data, rule) {
      if (data === absent) return undefined
      const isSecret = data.startsWith('s')
      const text = isSecret ? cipher.open(data.slice(1), key) : data.slice(1)
      if (text === undefined || isSecret !== rule.isSecret) throw new Error(`the copy of ${key} cannot be read`)
      return rule.unpack(text)
    },
    messageOf: (from, keys) => cipher.close(JSON.stringify([from, ...keys]), 'changed'),
    readMessage(message) {
      const text = cipher.open(message, 'changed')
      if (text === undefined) return undefined
      const [from = '', ...keys] = JSON.parse(text) as string[]
      return { from, keys }
    },
  }
}
