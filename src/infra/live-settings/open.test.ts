import { expect, test } from 'bun:test'
import type { Database, SqlRow } from '@/core/database'
import { fakeLog } from '@/testing/fakes'
import { openLiveSettings } from './open'

const config = { account: { signUp: 'open' as const }, log: { level: 'info' as const } }

/** A database that answers when the test says so. */
function slow() {
  const questions: PromiseWithResolvers<SqlRow[]>[] = []
  const db = {
    all: () => {
      const question = Promise.withResolvers<SqlRow[]>()
      questions.push(question)
      return question.promise
    },
  } as unknown as Database
  const log = fakeLog()
  return { questions, log, ...openLiveSettings(db, config, log, { retryAfterMs: 10 }) }
}

const closed = [{ name: 'signUp', value: '"closed"' }]
const settled = () => new Promise(resolve => setImmediate(resolve))

test('one read is under way at a time, so that none follows a newer one, and those who ask meanwhile share the next', async () => {
  const { questions, liveSettings } = slow()
  const first = liveSettings.refresh()
  const later = [liveSettings.refresh(), liveSettings.refresh(), liveSettings.refresh()]
  await settled()
  expect(questions).toHaveLength(1)
  questions[0]?.resolve(closed)
  await first
  expect(liveSettings.now().signUp).toBe('closed')
  await settled()
  expect(questions).toHaveLength(2)
  questions[1]?.resolve([])
  await Promise.all(later)
  expect(liveSettings.now().signUp).toBe('open')
  expect(questions).toHaveLength(2)
})

test('a change of anything else is no reason to read', async () => {
  const { questions, rememberer } = slow()
  rememberer.forget(['user:1', 'adminRole:setting:1' as never, 'session:2'])
  expect(questions).toHaveLength(0)
  rememberer.forget(['user:1', 'setting:signUp'])
  rememberer.forgetAll()
  expect(questions).toHaveLength(1)
  questions[0]?.resolve([])
  await settled()
  expect(questions).toHaveLength(2)
})

test('what cannot be read holds as it was, is asked for again until it is stopped, and is said once', async () => {
  const { questions, liveSettings, service, log } = slow()
  const reading = liveSettings.refresh()
  questions[0]?.resolve(closed)
  await reading
  const failing = liveSettings.refresh()
  questions[1]?.reject(new Error('away'))
  await failing
  expect(liveSettings.now().signUp).toBe('closed')
  while (questions.length < 3) await Bun.sleep(1)
  questions[2]?.reject(new Error('away'))
  while (questions.length < 4) await Bun.sleep(1)
  questions[3]?.resolve([])
  await settled()
  expect(liveSettings.now().signUp).toBe('open')
  expect(log.lines.map(({ level }) => level)).toEqual(['info', 'warn', 'info', 'info'])
  const last = liveSettings.refresh()
  questions[4]?.reject(new Error('away'))
  await last
  await service.stop()
  // For as long as one that is not stopped asks many times.
  const other = slow()
  void other.liveSettings.refresh()
  for (let asked = 1; asked <= 10; asked++) {
    while (other.questions.length < asked) await Bun.sleep(1)
    other.questions[asked - 1]?.reject(new Error('away'))
  }
  await other.service.stop()
  expect(questions).toHaveLength(5)
})

test('who follows is told at once, and after each change, but not of what has not changed', async () => {
  const { questions, liveSettings, follow } = slow()
  const told: string[] = []
  follow(({ signUp }) => told.push(signUp))
  for (const [i, rows] of [closed, closed, []].entries()) {
    const reading = liveSettings.refresh()
    questions[i]?.resolve(rows)
    await reading
  }
  expect(told).toEqual(['open', 'closed', 'open'])
})
