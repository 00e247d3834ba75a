import { expect } from 'bun:test'
import { besideMysql } from '../backings'
import { startBingo } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { newServiceKey } from '../clients'
import { newSignUp, type UserView } from '../http-client'
import { say } from '../replication'
import { type OwnServer, type Server, sharedServer } from '../servers'
import { recoveryLimitMs } from './audit'
import { hangMs, isFull, limits, patienceMs } from './scene'

/** An API process whose database is killed, and hangs, while clients sign up and look at what they made. */
const clients = isFull ? 16 : 8
const allowed = new Set([200, 201, 409, 503, 504])
/** A sign-up asks whether the names are taken, and then writes; and a machine with other work is slow at hashing. */
const answerLimitMs = 2 * (limits.acquireTimeoutMs + limits.queryTimeoutMs) + 2000

export async function requestFaults(title: string, primary: OwnServer): Promise<void> {
  await say(primary, 'create database requests')
  const env = {
    BINGO_DATABASE_URL: `${primary.url}/requests`,
    ...besideMysql((await sharedServer('redis')) as Server),
    BINGO_DATABASE_QUERY_TIMEOUT_MS: String(limits.queryTimeoutMs),
    BINGO_DATABASE_ACQUIRE_TIMEOUT_MS: String(limits.acquireTimeoutMs),
    BINGO_DATABASE_POOL_SIZE: String(limits.poolSize),
    // More may sign up from one address, and look.
    BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '0',
    BINGO_LIMIT_READ_PER_MINUTE: '0',
  }
  const bingo = await startBingo({ env, args: ['--migrate'] })
  const users = `${bingo.url}/api/v1/users`
  const service = await newServiceKey({ url: env.BINGO_DATABASE_URL })
  const made: string[] = []
  const statuses: Record<number, number> = {}
  let slowestMs = 0
  let isOver = false

  async function ask(url: string, body?: object): Promise<{ status: number; user: UserView }> {
    const beganMs = performance.now()
    const posted = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const response = await fetch(url, { headers: service.headers, ...posted, signal: AbortSignal.timeout(3 * answerLimitMs) })
    const user = (await response.json()) as UserView
    slowestMs = Math.max(slowestMs, performance.now() - beganMs)
    statuses[response.status] = (statuses[response.status] ?? 0) + 1
    return { status: response.status, user }
  }
  async function client() {
    while (!isOver) {
      const body = newSignUp()
      let answer = await ask(users, body)
      // As a client does who was told to come again; it may have been made all the same, and then it is taken.
      while (answer.status >= 500 && !isOver) {
        await Bun.sleep(20)
        answer = await ask(users, body)
      }
      if (answer.status === 201) {
        made.push(answer.user.id)
        await ask(`${users}/${answer.user.id}`)
      }
    }
  }
  const readiness = async () => (await fetch(`${bingo.ops}/readyz`)).status
  const more = async (count: number) => {
    const before = made.length
    await until(() => made.length >= before + count, patienceMs)
  }
  /** @returns how long after the server was back */
  async function ready(): Promise<number> {
    const sinceMs = performance.now()
    await until(async () => (await readiness()) === 200, patienceMs)
    return performance.now() - sinceMs
  }

  const working = Promise.all(Array.from({ length: clients }, client))
  await more(clients)
  await primary.kill()
  await until(async () => (await readiness()) === 503, patienceMs)
  await primary.start()
  const afterKillMs = await ready()
  await more(clients)
  primary.pause()
  await Bun.sleep(hangMs)
  await until(async () => (await readiness()) === 503, patienceMs)
  primary.resume()
  const afterHangMs = await ready()
  await more(clients)
  isOver = true
  await working
  if (isFull)
    console.log(
      `${title}: ready after ${Math.round(afterKillMs)} and ${Math.round(afterHangMs)} ms`,
      statuses,
      `slowest ${Math.round(slowestMs)} ms`,
    )

  expect(Math.max(afterKillMs, afterHangMs)).toBeLessThan(recoveryLimitMs)
  expect(Object.keys(statuses).filter(status => !allowed.has(Number(status)))).toEqual([])
  expect(statuses[503]).toBeGreaterThan(0)
  expect(slowestMs).toBeLessThan(answerLimitMs)
  for (const id of made) expect((await ask(`${users}/${id}`)).status).toBe(200)
  expect(await bingo.stop()).toBe(0)
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  expect(bingo.stderr()).toBe('')
  await say(primary, 'drop database requests')
}
