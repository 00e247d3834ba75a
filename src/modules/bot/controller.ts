import { t } from 'elysia'
import { everyone } from '@/core/access'
import { type ChatPlatforms, type PlatformName, webhookMaxBytes } from '@/core/chat'
import { controller, type Controller } from '@/core/controller'
import { defineErrors } from '@/core/error'
import type { BotBiz } from './biz'

const botErrors = defineErrors({
  NoPlatform: ['NotFound', 'This platform is not configured here; set BINGO_TELEGRAM_TOKEN or BINGO_DISCORD_TOKEN to use it.'],
  WebhookTooLarge: ['TooLarge', `The body is too large; send at most ${webhookMaxBytes / 1024} KiB.`],
})

/** Where platforms send what comes in. They are recognized by their signatures, over the body as it came. */
export function botController(chat: ChatPlatforms, { receiver }: Pick<BotBiz, 'receiver'>): Controller {
  async function receive(name: PlatformName, request: Request): Promise<Response> {
    const platform = chat.get(name)
    if (platform.state().is === 'off') throw botErrors.NoPlatform()
    return platform.webhook(request, await bodyOf(request), receiver)
  }
  const route = (name: PlatformName) => ({
    parse: 'none' as const,
    response: { 200: t.Unknown({ description: 'What the platform wants to be answered.' }) },
    access: [everyone()],
    // All of it comes from the few addresses of the platform.
    limit: 'none' as const,
    fails: ['NotFound', 'Unauthenticated', 'Unavailable'] as const,
    detail: { operationId: `${name}Webhook`, summary: `Take what ${name} sends` },
  })
  return controller({ prefix: '', tags: ['Bot'] })
    .post('/telegram', ({ request }) => receive('telegram', request), route('telegram'))
    .post('/discord', ({ request }) => receive('discord', request), route('discord'))
}

/** Read until it is too long, whatever its headers say. */
async function bodyOf(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength
    if (length > webhookMaxBytes) throw botErrors.WebhookTooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
