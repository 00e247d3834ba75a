import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { startForeign } from './foreign-server'

/** `bun foreign-process.ts PORT [HOST]`: a server in a process of its own, which can be killed and stopped. Each answer says its pid. */

const [, , port = '0', host = '127.0.0.1'] = process.argv
const user = { id: String(process.pid), username: 'ada' }
const server = await startForeign(
  UserService,
  {
    async getUser() {
      return { user }
    },
    async batchGetUsers() {
      await Bun.sleep(200)
      return { users: [user] }
    },
    async *listUsers() {
      for (;;) {
        yield { user }
        await Bun.sleep(20)
      }
    },
  },
  { port: Number(port), host },
)
console.log(`listening ${server.port}`)
process.on('SIGTERM', async () => {
  await server.drain()
  process.exit(0)
})
