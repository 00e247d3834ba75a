import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '@/core/config/settings'
import { exitCodes, StartError } from '@/core/error'
import { isEmbedded, sqlitePath } from './database/open'

const keyBytesMin = 32
/** Random bytes repeat little: 32 of them have 30 different values on average. Fewer than this is a pattern. */
const differentBytesMin = 16
const remedy = "make one with 'openssl rand -base64 32' and set BINGO_AUTH_KEY or BINGO_AUTH_KEY_FILE"

/**
 * The root key, from which each use derives its own. Embedded it is made once and kept beside the database, mode 0600; with
 * MySQL it must be given, since every process needs the same.
 * @throws StartError with exit code 78 when it is missing or weak
 */
export function rootKey(config: Pick<Config, 'auth' | 'database'>): Uint8Array {
  if (config.auth.key !== undefined) return decoded(config.auth.key)
  if (!isEmbedded(config)) throw new StartError(`auth.key is not set, and MySQL needs one; ${remedy}`, exitCodes.configuration)
  const folder = dirname(sqlitePath(config))
  return decoded(keptKey(join(folder, 'auth.key')))
}

/** Two processes may start at once: each writes a file of its own, and the first to link it under the name wins. */
function keptKey(path: string): string {
  const read = () => readFileSync(path, 'utf8').trim()
  try {
    return read()
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT')
      throw new StartError(`cannot read the key file ${path}: ${(thrown as Error).message}`)
  }
  // Not the process id: in containers that share a volume all may have the same.
  const own = `${path}.${crypto.randomUUID()}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(own, `${Buffer.from(crypto.getRandomValues(new Uint8Array(keyBytesMin))).toString('base64')}\n`, {
      mode: 0o600,
      flag: 'wx',
    })
    chmodSync(own, 0o600)
    linkSync(own, path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new StartError(`cannot write the key file ${path}: ${(thrown as Error).message}`)
  } finally {
    rmSync(own, { force: true })
  }
  return read()
}

/**
 * Base64 of random bytes has letters of both cases, and no words: each rule is wrong of one key in 10^8 at most. A passphrase decodes as
 * base64 as well, with whatever is no letter of it left out.
 */
const isWords = (text: string) =>
  !/^[\w+/-]+={0,2}$/.test(text) ||
  !/[a-z]/.test(text) ||
  !/[A-Z]/.test(text) ||
  /secret|password|change|default|example|develop|production/i.test(text)

function decoded(text: string): Uint8Array {
  const isHex = /^(?:[0-9a-f]{2})+$/i.test(text)
  const bytes = Buffer.from(text, isHex ? 'hex' : 'base64')
  if (bytes.length < keyBytesMin)
    throw new StartError(`auth.key has ${bytes.length} bytes, and needs ${keyBytesMin}; ${remedy}`, exitCodes.configuration)
  if (!isHex && isWords(text))
    throw new StartError(`auth.key is words, which can be guessed, and not random bytes; ${remedy}`, exitCodes.configuration)
  if (new Set(bytes).size < differentBytesMin) throw new StartError(`auth.key is not random; ${remedy}`, exitCodes.configuration)
  return bytes
}
