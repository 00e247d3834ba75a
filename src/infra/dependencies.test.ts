import { expect, test } from 'bun:test'
import { defineErrors } from '@/core/error'
import { loadConfig } from '@/core/config/load'
import { startMailServer } from '@/testing/smtp'
import { openAgain } from '@/testing/conformance/fixture'
import { temporaryFolder } from '@/testing/bingo'
import { createDependencies, dependencyChecks } from './dependencies'
import { openMailer } from './mail/open'

const errors = defineErrors({ Away: ['Unavailable', 'It is away.'] })
const secret = 'redis://default:hunter2@10.0.0.7:6379'

test('what is there is ready, and what is not says why by a code that names nobody', async () => {
  const fails = (name: string, thrown: unknown) => ({ name, check: () => Promise.reject(thrown) })
  const states = await createDependencies(
    [
      { name: 'there', check: async () => {} },
      fails('refused', Object.assign(new Error(`connect ECONNREFUSED ${secret}`), { code: 'ECONNREFUSED' })),
      fails('caused', errors.Away({ cause: new Error(secret, { cause: Object.assign(new Error(secret), { code: 'ENOTFOUND' }) }) })),
      fails('ours', errors.Away()),
      fails('unknown', new Error(secret)),
      fails('odd', Object.assign(new Error(secret), { code: secret })),
      fails('text', secret),
      { name: 'silent', check: () => new Promise<void>(() => {}) },
    ],
    50,
  ).check()
  expect(Object.fromEntries(states.map(({ name, isReady, error }) => [name, isReady ? 'ready' : error]))).toEqual({
    there: 'ready',
    refused: 'ECONNREFUSED',
    caused: 'ENOTFOUND',
    ours: 'Unavailable.Away',
    unknown: 'Failed',
    odd: 'Failed',
    text: 'Failed',
    silent: 'Timeout',
  })
  expect(JSON.stringify(states)).not.toContain('hunter2')
  for (const { latencyMs } of states) expect(latencyMs).toBeGreaterThanOrEqual(0)
  expect(states.at(-1)?.latencyMs).toBeGreaterThanOrEqual(49)
})

test('those who ask at the same time share one question', async () => {
  let asked = 0
  const check = async () => void asked++
  const dependencies = createDependencies([{ name: 'database', check }])
  await Promise.all(Array.from({ length: 10 }, () => dependencies.check()))
  expect(asked).toBe(1)
})

test('a file of SQLite, a mail server and one that has gone are told apart', async () => {
  using folder = temporaryFolder()
  const db = await openAgain({ url: `sqlite:${folder.path}/bingo.db` })
  const server = await startMailServer()
  const mailer = openMailer(loadConfig({ env: { BINGO_MAIL_URL: server.url }, flags: {}, readFile: () => '' }).config)
  const check = () => createDependencies(dependencyChecks({ db, mailer })).check()
  expect((await check()).map(({ name, isReady }) => [name, isReady])).toEqual([
    ['database', true],
    ['mail', true],
  ])
  await server.close()
  expect((await check()).map(({ name, isReady, error }) => [name, isReady, error])).toEqual([
    ['database', true, undefined],
    ['mail', false, 'ESOCKET'],
  ])
  await mailer.close()
  await db.close()
})
