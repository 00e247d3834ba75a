import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { accountsOn } from '../accounts'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { backingIn } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { send } from '../http-client'
import { startMailServer, type TestMailServer } from '../smtp'
import { differences, expectSameTime, timesOf } from '../timing'
import { addUsers } from '../user-exports'

/** Of each kind. Each look takes accounts of its own, since one that has just been sent a code is not sent another. */
const rounds = 200
const looksMax = 3

describe('asking the executable to reset a password', () => {
  const folder = temporaryFolder()
  let bingo: RunningBingo
  let mail: TestMailServer
  let db: OpenDatabase
  beforeAll(async () => {
    mail = await startMailServer()
    const { url } = backingIn(folder.path)
    const env = { BINGO_DATABASE_URL: url, BINGO_MAIL_URL: mail.url, BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '0' }
    // All in one process, where what is done for those who are known is felt most.
    bingo = await startBingo({ roles: 'api,scheduler', env })
    db = await openAgain({ url })
    await addUsers(db, looksMax * rounds, 'active')
    await addUsers(db, looksMax * rounds, 'suspended', 'suspended')
  }, 60_000)
  afterAll(async () => {
    await db.close()
    expect(await bingo.stop()).toBe(0)
    await mail.close()
    folder[Symbol.dispose]()
  }, 30_000)

  const asking = (name: string) => {
    let turn = 0
    return async () => {
      const { status } = await send('POST', `${bingo.url}/api/v1/password-resets`, { email: `${name}${turn++}@example.com` })
      if (status !== 202) throw new Error(`answered ${status}`)
    }
  }

  test('takes the same time for an address that is known, one that is not, and one whose account is suspended', async () => {
    await expectSameTime({ known: asking('active'), unknown: asking('nobody'), suspended: asking('suspended') }, rounds)
    // Something was done for those who are known.
    await until(() => mail.received.length >= rounds, 60_000)
    expect(mail.received.every(({ to: [address = ''] }) => address.startsWith('active'))).toBe(true)
  }, 180_000)
})

describe('the measurement finds', () => {
  const folder = temporaryFolder()
  let db: OpenDatabase
  beforeAll(async () => {
    db = await openAgain(backingIn(folder.path))
    await migrateUp(db, migrations)
    await addUsers(db, 200, 'active')
  }, 30_000)
  afterAll(async () => {
    await db.close()
    folder[Symbol.dispose]()
  })

  test('that the code is made before the answer', async () => {
    const { users, codes } = accountsOn(db)
    const answer = (name: string) => async (round: number) => {
      const account = await users.findByEmail(`${name}${round}@example.com`)
      if (account) await codes.mint({ userId: account.id, purpose: 'resetPassword', email: account.email })
    }
    const found = differences(await timesOf({ known: answer('active'), unknown: answer('nobody') }, 200))
    expect(found).toMatchObject([{ kinds: ['known', 'unknown'] }])
  }, 60_000)
})
