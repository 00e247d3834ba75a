import { createHash, timingSafeEqual } from 'node:crypto'
import type { PlatformName } from '@/core/chat'
import type { Database } from '@/core/database'
import { defineErrors } from '@/core/error'
import type { Cipher } from '@/core/seal'
import { tellWhenChanged } from '../rows'
import type { TelegramApi } from './api'
import { updatesWanted } from './updates'

/** Where Telegram sends what is new, and how it proves that it is Telegram. */
export interface Webhook {
  url: string
  /** 43 characters of base64url, as Telegram takes it. */
  secret: string
}

export const webhookErrors = defineErrors({
  SecretWrong: [
    'Unauthenticated',
    'The header X-Telegram-Bot-Api-Secret-Token is missing or wrong; Telegram sends the one that it was told.',
  ],
  NotAsked: ['NotFound', 'Telegram is not configured to send anything here; set telegram.mode to webhook.'],
  NotReady: ['Unavailable', 'The bot is not ready; send it again.'],
  Unreadable: ['InvalidArgument', 'The body is not an object of JSON.'],
})

const secretHeader = 'x-telegram-bot-api-secret-token'
/** So many at the same time. */
const connectionsMax = 40
const platform: PlatformName = 'telegram'

/** Another token or another root key gives another secret. */
export const webhookOf = (publicUrl: string, token: string, cipher: Cipher): Webhook => ({
  url: `${publicUrl.replace(/\/$/, '')}/bot/telegram`,
  secret: cipher.digest(`telegram webhook ${token}`),
})

/** @throws SecretWrong, in a time that does not depend on where it is wrong */
export function refuseForged(request: Request, { secret }: Webhook): void {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  if (!timingSafeEqual(digest(request.headers.get(secretHeader) ?? ''), digest(secret))) throw webhookErrors.SecretWrong()
}

/** @throws Unreadable */
export function updateIn(body: Uint8Array): object {
  let update: unknown
  try {
    update = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (cause) {
    throw webhookErrors.Unreadable({ cause })
  }
  if (typeof update !== 'object' || update === null) throw webhookErrors.Unreadable()
  return update
}

/** Tells Telegram, unless it knows: what it says of a webhook does not have the secret, so that is remembered. */
export async function tellWebhook(
  { url, secret }: Webhook,
  { api, db, cipher }: { api: TelegramApi; db: Database; cipher: Cipher },
  signal: AbortSignal,
): Promise<void> {
  const digest = cipher.digest(JSON.stringify([url, secret, updatesWanted, connectionsMax]))
  const known = await api.call('getWebhookInfo', {}, signal)
  const more = { allowed_updates: updatesWanted, max_connections: connectionsMax }
  await tellWhenChanged(db, { platform, what: 'webhookDigest', digest, isForgotten: known.url !== url }, () =>
    api.call('setWebhook', { url, secret_token: secret, ...more }, signal),
  )
}
