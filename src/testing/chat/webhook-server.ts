import { type ChatPlatform, webhookMaxBytes } from '@/core/chat'
import { toAppError } from '@/core/error'
import type { FakeReceiver } from './fake-receiver'

/** A server that hands what is sent to `/bot/…` to a platform, for tests of a platform alone. */
export function serveChat(platform: ChatPlatform, receiver: FakeReceiver) {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    maxRequestBodySize: webhookMaxBytes,
    async fetch(request) {
      try {
        return await platform.webhook(request, new Uint8Array(await request.arrayBuffer()), receiver)
      } catch (thrown) {
        const { code, httpStatus } = toAppError(thrown)
        return Response.json({ code }, { status: httpStatus })
      }
    },
  })
  return { url: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) }
}
