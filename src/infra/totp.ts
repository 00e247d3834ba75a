import type { Totp } from '@/core/totp'

/** One step of the clock to either side (RFC 6238 §5.2). */
const toleranceSeconds = 30
const seedBytes = 20
const form = /^\d{6}$/

/** The library is loaded when the first code is checked: a process is ready sooner without it. */
export function createTotp(): Totp {
  let loading: Promise<typeof import('otplib/functional')> | undefined
  const library = () => {
    loading ??= import('otplib/functional')
    return loading
  }
  return {
    newSeed: async () => (await library()).generateSecret({ length: seedBytes }),
    // Some apps read a plus as a plus, so the library's spelling of spaces, %20, is what is wanted.
    linkOf: async (secret, { issuer, account }) => (await library()).generateURI({ issuer, label: account, secret }),
    async stepOf(secret, code, nowMs) {
      if (!form.test(code)) return undefined
      const epoch = Math.floor(nowMs / 1000)
      const found = (await library()).verifySync({ secret, token: code, epoch, epochTolerance: toleranceSeconds })
      return found.valid && 'timeStep' in found ? found.timeStep : undefined
    },
  }
}
