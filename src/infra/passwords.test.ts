import { expect, test } from 'bun:test'
import { fakeMetrics } from '@/testing/fakes'
import { argon2id, createPasswords } from './passwords'

test('hashing is argon2id with at least what OWASP asks for', async () => {
  expect(argon2id.memoryCost).toBeGreaterThanOrEqual(19_456)
  expect(argon2id.timeCost).toBeGreaterThanOrEqual(2)
  const hash = await createPasswords({ concurrency: 1, queueLimit: 0 }, fakeMetrics()).hash('correct horse')
  expect(hash).toStartWith(`$argon2id$v=19$m=${argon2id.memoryCost},t=${argon2id.timeCost},p=1$`)
})

test('more than may wait are refused at once and told when to come back; the others are all served', async () => {
  const passwords = createPasswords({ concurrency: 2, queueLimit: 3 }, fakeMetrics())
  const work = Array.from({ length: 8 }, () => passwords.hash('correct horse'))
  const outcomes = await Promise.allSettled(work)
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'Unavailable.Busy', retryAfterSeconds: 2 })
  }
  expect(await passwords.verify('correct horse', await passwords.hash('correct horse'))).toBe(true)
})

test('two hashes of one password differ, since each has its own salt', async () => {
  const passwords = createPasswords({ concurrency: 2, queueLimit: 3 }, fakeMetrics())
  const [one, other] = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')])
  expect(one).not.toBe(other)
})

test('a password is checked for an account that there is not: it is wrong, and costs what every check costs', async () => {
  const passwords = createPasswords({ concurrency: 1, queueLimit: 0 }, fakeMetrics())
  const hash = await passwords.hash('correct horse')
  const timed = async (hash: string | undefined) => {
    const startedMs = performance.now()
    expect(await passwords.verify('wrong horse', hash)).toBe(false)
    return performance.now() - startedMs
  }
  const known: number[] = []
  const unknown: number[] = []
  for (let i = 0; i < 12; i++) {
    known.push(await timed(hash))
    unknown.push(await timed(undefined))
  }
  // The quickest of each, since a busy machine makes some slow. That they do not differ at all is measured at log-in.
  expect(Math.min(...unknown)).toBeGreaterThan(Math.min(...known) / 2)
})

test('a hash that is weaker than those of today is to be made anew, a stronger one is not', async () => {
  const { isOutdated, hash } = createPasswords({ concurrency: 1, queueLimit: 0 }, fakeMetrics())
  expect(isOutdated(await hash('correct horse'))).toBe(false)
  const hashed = (memoryCost: number, timeCost: number) =>
    Bun.password.hash('correct horse', { algorithm: 'argon2id', memoryCost, timeCost })
  expect(isOutdated(await hashed(argon2id.memoryCost / 2, argon2id.timeCost))).toBe(true)
  expect(isOutdated(await hashed(argon2id.memoryCost, argon2id.timeCost - 1))).toBe(true)
  expect(isOutdated(await hashed(argon2id.memoryCost * 2, argon2id.timeCost + 1))).toBe(false)
  expect(isOutdated(await Bun.password.hash('correct horse', 'bcrypt'))).toBe(true)
})
