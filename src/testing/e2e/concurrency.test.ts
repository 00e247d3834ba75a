import { describe, expect, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { type BingoOptions, startBingo } from '../bingo'
import { newServiceKey } from '../clients'
import { newSignUp, send, type UserView } from '../http-client'

const testTimeoutMs = 60_000
/** More than one address may sign up in a minute. */
const unlimited = ({ options }: Backing): BingoOptions => ({ ...options, env: { ...options.env, BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '0' } })

onEachBacking('under load', open => {
  describe('signing up', () => {
    test(
      'of 1,000 at once with one e-mail address one succeeds, the others are told, and there is one row',
      async () => {
        const backing = await open()
        const bingo = await startBingo(unlimited(backing))
        const users = `${bingo.url}/api/v1/users`
        const { email } = newSignUp()
        const answers = await Promise.all(Array.from({ length: 1000 }, () => send('POST', users, newSignUp({ email }))))
        const count = (status: number) => answers.filter(answer => answer.status === status).length
        expect(count(201)).toBe(1)
        expect(count(409) + count(503)).toBe(999)
        expect(count(409)).toBeGreaterThan(0)
        for (const { status, headers } of answers) if (status === 503) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
        const service = await newServiceKey(backing)
        const { body } = await service.send<{ items: UserView[] }>('GET', `${users}?pageSize=100`)
        expect(body.items.map(user => user.email)).toEqual([email])
        expect(await bingo.stop()).toBe(0)
        await backing.dispose()
      },
      testTimeoutMs,
    )

    test(
      'every 201 that a client received is in the database after kill -9',
      async () => {
        const backing = await open()
        const bingo = await startBingo(unlimited(backing))
        const made: string[] = []
        const halfWay = Promise.withResolvers<void>()
        const one = async () => {
          const { status, body } = await send<UserView>('POST', `${bingo.url}/api/v1/users`, newSignUp())
          if (status === 201) made.push(body.id)
          if (made.length === 40) halfWay.resolve()
        }
        const all = Promise.allSettled(Array.from({ length: 1000 }, one))
        await halfWay.promise
        await bingo.stop('SIGKILL')
        await all
        expect(made.length).toBeGreaterThanOrEqual(40)
        const again = await startBingo(backing.options)
        const service = await newServiceKey(backing)
        const found = await Promise.all(made.map(id => service.send<UserView>('GET', `${again.url}/api/v1/users/${id}`)))
        expect(found.map(({ status }) => status)).toEqual(made.map(() => 200))
        expect(await again.stop()).toBe(0)
        await backing.dispose()
      },
      testTimeoutMs,
    )
  })
})
