import { describe, expect, test } from 'bun:test'
import { onEachBacking } from '../backings'
import { startBingo } from '../bingo'
import { newSignUp, send, type UserView } from '../http-client'

const testTimeoutMs = 60_000

onEachBacking('under load', open => {
  describe('signing up', () => {
    test(
      'of 1,000 at once with one e-mail address one succeeds, the others are told, and there is one row',
      async () => {
        const backing = await open()
        const bingo = await startBingo(backing.options)
        const users = `${bingo.url}/api/v1/users`
        const { email } = newSignUp()
        const answers = await Promise.all(Array.from({ length: 1000 }, () => send('POST', users, newSignUp({ email }))))
        const count = (status: number) => answers.filter(answer => answer.status === status).length
        expect(count(201)).toBe(1)
        expect(count(409) + count(503)).toBe(999)
        expect(count(409)).toBeGreaterThan(0)
        for (const { status, headers } of answers) if (status === 503) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
        const { body } = await send<{ items: UserView[] }>('GET', `${users}?pageSize=100`)
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
        const bingo = await startBingo(backing.options)
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
        const found = await Promise.all(made.map(id => send<UserView>('GET', `${again.url}/api/v1/users/${id}`)))
        expect(found.map(({ status }) => status)).toEqual(made.map(() => 200))
        expect(await again.stop()).toBe(0)
        await backing.dispose()
      },
      testTimeoutMs,
    )
  })
})
