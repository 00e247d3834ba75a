import type { Config } from '@/core/config/settings'
import { defineErrors } from '@/core/error'
import type { Metrics } from '@/core/metrics'
import type { Passwords } from '@/core/passwords'

/** The least that OWASP's Password Storage Cheat Sheet allows for argon2id: 19 MiB, two passes, one lane. */
export const argon2id = { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 } as const

export const passwordErrors = defineErrors({
  Busy: ['Unavailable', 'Too many sign-ups and log-ins at once. Try again in a moment.'],
})

/** Hashes by `Bun.password`, off the event loop, `concurrency` at a time. */
export function createPasswords({ concurrency, queueLimit }: Config['password'], metrics: Metrics): Passwords {
  let running = 0
  const waiting: (() => void)[] = []
  const refused = metrics
    .counter({
      name: 'bingo_password_refused_total',
      help: 'Passwords not hashed or checked because too many were waiting.',
    })
    .with({})
  metrics.gauge({ name: 'bingo_password_waiting', help: 'Passwords that wait to be hashed or checked.' }, () => waiting.length)

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running >= concurrency) {
      if (waiting.length >= queueLimit) {
        refused.add()
        throw passwordErrors.Busy({ retryAfterSeconds: 2 })
      }
      // Whoever finishes hands its place on, so `running` stays as it is.
      await new Promise<void>(resolve => waiting.push(resolve))
    } else {
      running++
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }

  return {
    hash: password => inTurn(() => Bun.password.hash(password, argon2id)),
    verify: (password, hash) => inTurn(() => Bun.password.verify(password, hash)),
  }
}
