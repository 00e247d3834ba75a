import { createHmac } from 'node:crypto'

const stepMs = 30_000
/** So long before the end of a step a code of the step before may come too late. */
const hasteMs = 5000
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** What an authenticator app shows at a moment, computed by the letter of RFC 4226 and RFC 6238 and by nothing that the product uses. */
export function codeAt(seed: string, ms = Date.now()): string {
  const bits = [...seed].map(letter => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map(byte => Number.parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(ms / stepMs)))
  const mac = createHmac('sha1', key).update(counter).digest()
  const at = (mac.at(-1) ?? 0) & 15
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

/**
 * Codes as somebody with the app sends them, of whom none is like one before: of the step before this one, this one and the next. So three
 * can be had at once, and a fourth has to be waited for, half a minute at most.
 */
export function authenticator(seed: string): { next(): Promise<string> } {
  let last = 0
  return {
    async next() {
      const now = Date.now()
      const current = Math.floor(now / stepMs)
      const endMs = (current + 1) * stepMs
      const step = Math.max(last + 1, current - 1)
      if (step > current + 1) await Bun.sleep(endMs - now)
      else if (step === current - 1 && endMs - now < hasteMs) {
        await Bun.sleep(endMs - now)
        return this.next()
      }
      last = step
      return codeAt(seed, step * stepMs)
    },
  }
}
