import { isUuid } from './schema'

/**
 * How codes are spelled: a random handle of 16 bytes and 20 random bytes that are secret, together 48 characters of base64url. So long
 * that nobody guesses one, since it is followed as a link or copied, never typed: six digits would have to be defended by counting
 * guesses, and counted guesses let anybody void the code of another. Here only who has a message can use up its attempts.
 */
const handleBytes = 16
const secretBytes = 20

export interface Minted {
  /** To be sent, and nowhere else. */
  code: string
  /** To be kept, like the next. */
  handle: string
  codeHash: string
}

export function mintCode(): Minted {
  const handle = crypto.randomUUID()
  const bytes = Buffer.concat([Buffer.from(handle.replaceAll('-', ''), 'hex'), crypto.getRandomValues(new Uint8Array(secretBytes))])
  const code = bytes.toString('base64url')
  return { code, handle, codeHash: hashOf(code) }
}

/** @returns undefined for what is no code */
export function parseCode(code: string): Omit<Minted, 'code'> | undefined {
  const bytes = Buffer.from(code, 'base64url')
  // One spelling for one code.
  if (bytes.length !== handleBytes + secretBytes || bytes.toString('base64url') !== code) return undefined
  const handle = bytes.toString('hex', 0, handleBytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return isUuid(handle) ? { handle, codeHash: hashOf(code) } : undefined
}

const hashOf = (code: string) => new Bun.CryptoHasher('sha256').update(code).digest('hex')
