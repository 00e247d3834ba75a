import { readFileSync } from 'node:fs'
import type { Config } from '@/core/config/settings'
import { exitCodes, StartError } from '@/core/error'

/** The certificates of `rpc`, as they are in their files. */
export interface RpcTls {
  /** Of this process, with its key. */
  own: { cert: Buffer; key: Buffer } | undefined
  /** Of the authorities that are believed. */
  ca: Buffer | undefined
}

/** @throws StartError naming the setting whose file cannot be read, or is missing beside another */
export function readTls({ tlsCertFile, tlsKeyFile, tlsCaFile }: Pick<Config['rpc'], 'tlsCertFile' | 'tlsKeyFile' | 'tlsCaFile'>): RpcTls {
  const cert = readPem('rpc.tlsCertFile', tlsCertFile)
  const key = readPem('rpc.tlsKeyFile', tlsKeyFile)
  if (cert && !key) throw wrong('rpc.tlsKeyFile is not set, and rpc.tlsCertFile is; set both')
  if (key && !cert) throw wrong('rpc.tlsCertFile is not set, and rpc.tlsKeyFile is; set both')
  return { own: cert && key && { cert, key }, ca: readPem('rpc.tlsCaFile', tlsCaFile) }
}

function readPem(setting: string, path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined
  let pem: Buffer
  try {
    pem = readFileSync(path)
  } catch (thrown) {
    const why = (thrown as NodeJS.ErrnoException).code ?? 'unknown'
    throw wrong(`${setting} names ${path}, which cannot be read (${why}); name a file that this process may read`)
  }
  if (!pem.includes('-----BEGIN ')) throw wrong(`${setting} names ${path}, which is no PEM file; name one that begins with -----BEGIN`)
  return pem
}

const wrong = (message: string) => new StartError(message, exitCodes.configuration)
