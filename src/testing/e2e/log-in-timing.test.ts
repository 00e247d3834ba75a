import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { argon2id, createPasswords } from '@/infra/passwords'
import type { OpenDatabase } from '@/infra/database/driver'
import { rootRoleId } from '@/modules/admin-role'
import { administratorStore } from '@/modules/administrator/store'
import { userStore } from '@/modules/user/store'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { openAgain } from '../conformance/fixture'
import { fakeMetrics } from '../fakes'
import { type Problem, send } from '../http-client'
import { differences, expectSameTime, timesOf } from '../timing'

/** Of each kind; the admin server's code is its own, its hashing is not. */
const rounds = 200
const adminRounds = 60
/** So many failures of one account cost nothing, from as many addresses. */
const guessesMax = 15
const accounts = Math.ceil((3 * rounds) / guessesMax)
const password = 'correct horse battery'

describe('logging in to the executable', () => {
  const folder = temporaryFolder()
  let bingo: RunningBingo
  let db: OpenDatabase
  beforeAll(async () => {
    const url = `sqlite:${folder.path}/bingo.db`
    // Each guess comes from an address of its own, so that none has to wait.
    const env = { BINGO_DATABASE_URL: url, BINGO_HTTP_TRUSTED_PROXIES: '127.0.0.1/32', BINGO_PASSWORD_CONCURRENCY: '3' }
    bingo = await startBingo({ roles: 'api,admin', env })
    db = await openAgain({ url })
    const passwordHash = await createPasswords({ concurrency: 1, queueLimit: 0 }, fakeMetrics()).hash(password)
    for (const status of ['active', 'suspended'] as const) {
      const names = Array.from({ length: accounts }, (_, i) => `${status}-${i}`)
      await userStore(db).createMany(names.map(username => ({ username, email: `${username}@example.com`, passwordHash, status })))
      await administratorStore(db).createMany(names.map(username => ({ username, passwordHash, status, roleIds: [rootRoleId] })))
    }
  }, 30_000)
  afterAll(async () => {
    await db.close()
    expect(await bingo.stop()).toBe(0)
    folder[Symbol.dispose]()
  }, 30_000)

  let count = 0
  const address = () => `10.${(++count >> 16) & 255}.${(count >> 8) & 255}.${count & 255}`
  const post = (server: 'api' | 'admin', body: object) =>
    send<Problem>('POST', `${bingo.urls[server]}/${server === 'api' ? 'api' : 'admin'}/v1/sessions`, body, { 'x-forwarded-for': address() })
  /** @param name of an account that has not been guessed at too often */
  const refused = async (server: 'api' | 'admin', name: string) => {
    const body = server === 'api' ? { login: name, password: 'wrong horse battery' } : { username: name, password: 'wrong horse battery' }
    const answer = await post(server, body)
    if (answer.status !== 401) throw new Error(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer
  }
  /** Guesses at one account after another. */
  const refusing = (server: 'api' | 'admin', kind: string) => {
    let turn = 0
    return () => refused(server, `${kind}-${turn++ % accounts}`)
  }
  const kinds = (server: 'api' | 'admin') => ({
    known: refusing(server, 'active'),
    unknown: refusing(server, 'nobody'),
    suspended: refusing(server, 'suspended'),
  })

  test('takes the same time for an account that there is, one that there is not, and one that is suspended', async () => {
    await expectSameTime(kinds('api'), rounds)
  }, 300_000)

  test('takes the same time for administrators, too', async () => {
    await expectSameTime(kinds('admin'), adminRounds)
  }, 300_000)

  test('is answered in the same words, whoever it was', async () => {
    for (const server of ['api', 'admin'] as const) {
      const answers = await Promise.all(['active-1', 'nobody', 'suspended-1'].map(name => refused(server, name)))
      const said = answers.map(({ status, headers, body: { requestId: _, ...body } }) => {
        const { 'x-request-id': __, date: ___, ...same } = Object.fromEntries(headers)
        return { status, body, same }
      })
      expect(said[1]).toEqual(said[0])
      expect(said[2]).toEqual(said[0])
    }
  })

  test('is slowed down alike, after as many failures, with the same words', async () => {
    const said = await Promise.all(
      ['active-1', 'nobody-at-all', 'suspended-1'].map(async (login, i) => {
        const from = { 'x-forwarded-for': `192.0.2.${i + 1}` }
        const answers: unknown[] = []
        for (let guess = 0; guess < 6; guess++) {
          const answer = await send<Problem>('POST', `${bingo.urls['api']}/api/v1/sessions`, { login, password: 'wrong' }, from)
          const { status, body, headers } = answer
          answers.push([status, body.code, body.detail, headers.get('retry-after')])
        }
        return answers
      }),
    )
    expect(said[0]?.map(answer => (answer as unknown[])[0])).toEqual([401, 401, 401, 401, 401, 429])
    expect(said[1]).toEqual(said[0])
    expect(said[2]).toEqual(said[0])
  })

  test('tells only whoever knows the password that the account is suspended', async () => {
    expect(await post('api', { login: 'suspended-0', password })).toMatchObject({
      status: 403,
      body: { code: 'PermissionDenied.AccountSuspended' },
    })
    expect(await post('admin', { username: 'suspended-0', password })).toMatchObject({ status: 403 })
  })
})

describe('the measurement finds', () => {
  const passwords = createPasswords({ concurrency: 3, queueLimit: 10 }, fakeMetrics())
  /** @param unknown what is done for an account that there is not */
  const found = async (unknown: () => Promise<unknown>, samples: number) => {
    const hash = await passwords.hash(password)
    return differences(await timesOf({ known: () => passwords.verify('wrong', hash), unknown }, samples))
  }

  test('that nothing is hashed for an account that there is not', async () => {
    expect(await found(async () => false, 30)).toMatchObject([{ kinds: ['known', 'unknown'] }])
  }, 60_000)

  test('that what is hashed for it has weaker parameters', async () => {
    const weaker = await Bun.password.hash('anything', { ...argon2id, timeCost: argon2id.timeCost - 1 })
    expect(await found(() => passwords.verify('wrong', weaker), 60)).toMatchObject([{ kinds: ['known', 'unknown'] }])
  }, 60_000)
})
