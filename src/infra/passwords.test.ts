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
