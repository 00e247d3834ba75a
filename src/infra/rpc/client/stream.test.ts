import { afterEach, expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { asCaller } from '@/core/caller'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { recognizing, serviceCalled } from '@/testing/identities'
import { serviceOf, startRpc, type TestMethods } from '@/testing/rpc/server'
import { openRpcClients } from '../open'

/** How long a stream may go on, in this process and over the network. */

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

/** @param target the server; without one this process */
function usersAt(target: string | undefined, { timeoutMs, methods = {} }: { timeoutMs: number; methods?: TestMethods }) {
  const rpc = { port: 1, timeoutMs, services: [], ...(target !== undefined && { target }) }
  const tokens = { signService: async () => ({ token: 't', expiresInSeconds: 300 }) }
  const opened = openRpcClients(
    { rpc, http: { bodyLimitBytes: 1_048_576 } as never },
    { tokens, log: fakeLog(), metrics: fakeMetrics(), name: 'bot' },
  )
  undo.push(() => opened.close())
  opened.serveHere([async () => serviceOf(methods)])
  return opened.clients.client(UserService, { scopes: [] })
}

async function endOf(work: AsyncIterable<unknown> | Promise<unknown>): Promise<unknown> {
  let count = 0
  try {
    if (work instanceof Promise) await work
    else for await (const _ of work) count++
    return count
  } catch (thrown) {
    return (thrown as { code?: unknown }).code
  }
}

const methods: TestMethods = {
  getUser: { access: [everyone()], run: () => new Promise<never>(() => {}) },
  listUsers: {
    access: [everyone()],
    async *run() {
      for (const id of ['a', 'b', 'c', 'd']) {
        yield { user: { id } }
        await Bun.sleep(100)
      }
    },
  },
}

for (const way of ['in this process', 'over the network'])
  test(`${way} a stream goes on for longer than other calls may take, unless its caller says until when`, async () => {
    let target: string | undefined
    if (way === 'over the network') {
      const { server, url } = await startRpc(methods, { recognizer: recognizing({ t: serviceCalled('bot', []) }) })
      undo.push(() => server.stop())
      target = new URL(url).host
    }
    const users = usersAt(target, { timeoutMs: 200, methods })
    expect(await endOf(users.getUser({}))).toBe('Timeout.Deadline')
    expect(await endOf(users.listUsers({}))).toBe(4)
    expect(await endOf(users.listUsers({}, { timeoutMs: 200 }))).toBe('Timeout.Deadline')
    const ofServed = asCaller({ requestId: 'r', deadlineAtMs: Date.now() + 200 }, () => endOf(users.listUsers({})))
    expect(await ofServed).toBe('Timeout.Deadline')
  })

test('a stream that nobody takes has failed when other calls have', async () => {
  // Takes connections, and says nothing.
  const silent = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  undo.push(() => silent.stop(true))
  const beganMs = performance.now()
  expect(await endOf(usersAt(`127.0.0.1:${silent.port}`, { timeoutMs: 300 }).listUsers({}))).toBe('Timeout.Deadline')
  expect(performance.now() - beganMs).toBeWithin(250, 3000)
})
