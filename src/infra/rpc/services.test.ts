import { expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { StartError } from '@/core/error'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { callingHere } from '@/testing/calling-here'
import { serviceOf, startRpc } from '@/testing/rpc/server'
import { rawClient } from '@/testing/rpc/raw-client'
import { codes } from './grpc'
import { servicesOf } from './services'

const answering = (id: string) => async () => serviceOf({ getUser: { access: [everyone()], run: async () => ({ user: { id } }) } })
const said = 'two modules serve bingo.user.v1.UserService; '

test('a service that two modules have is refused, by whoever serves it and by whoever calls it here', async () => {
  const two = [answering('first'), answering('last')]
  expect(servicesOf(two)).rejects.toThrow(StartError)
  expect(callingHere(two).client(UserService, { scopes: [] }).getUser({})).rejects.toThrow(said)
  expect(await callingHere(two.slice(1)).client(UserService, { scopes: [] }).getUser({})).toMatchObject({ user: { id: 'last' } })

  await using running = await startRpc([{}, {}])
  const client = rawClient(new URL(running.url).host)
  expect((await client.raw('/bingo.user.v1.UserService/GetUser', new Uint8Array())).code).toBe(codes.UNAVAILABLE)
  client.close()
  const [line] = running.log.lines.filter(({ level }) => level === 'error')
  expect(String(line?.fields['err'])).toContain(said)
})
