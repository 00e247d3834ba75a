import { randomBytes } from 'node:crypto'
import type { Config } from '@/core/config/settings'
import { defineErrors } from '@/core/error'
import type { Metrics } from '@/core/metrics'
import type { Passwords } from '@/core/passwords'

/** The least that OWASP's Password Storage Cheat Sheet allows for argon2id: 19 MiB, two passes, one lane. */
export const argon2id = { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 } as const

/** How a hash of today begins, as PHC strings do. */
const prefix = `$argon2id$v=19$m=${argon2id.memoryCost},t=${argon2id.timeCost},p=1$`

export const passwordErrors = defineErrors({
  Busy: ['Unavailable', 'Too many sign-ups and log-ins at once. Try again in a moment.'],
})

/** Hashes by `Bun.password`, off the event loop, `concurrency` at a time. */
export function createPasswords({ concurrency, queueLimit }: Config['password'], metrics: Metrics): Passwords {
  // A hash as those of today, which no password is known to have. Checking it takes as long as any.
  const nobodys = `${prefix}${randomBase64()}$${randomBase64()}`
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
    verify: (password, hash = nobodys) => inTurn(() => Bun.password.verify(password, hash)),
    isOutdated,
  }
}

/** As long as the salt of `Bun.password`, and as what comes of it. */
const saltBytes = 32
const randomBase64 = () => randomBytes(saltBytes).toString('base64').replace(/=+$/, '')

function isOutdated(hash: string): boolean {
  const [, memoryCost, timeCost] = /^\$argon2id\$v=19\$m=(\d{1,10}),t=(\d{1,10}),p=1\$/.exec(hash) ?? []
  return !(Number(memoryCost) >= argon2id.memoryCost && Number(timeCost) >= argon2id.timeCost)
}
