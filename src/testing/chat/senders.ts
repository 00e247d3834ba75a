import { platformNames, type PlatformName } from '@/core/chat'
import type { CommandContext } from '@/core/command'
import { anonymous, type Identity } from '@/core/identity'
import { fakeLog } from '../fakes'

/** What a command is told of who gives it: somebody in a private chat, whom nobody knows, unless it is said otherwise. */
export function sentBy(
  senderId: string,
  {
    isPrivate = true,
    identity = anonymous,
    platform = platformNames[0],
    name = `sender ${senderId}`,
  }: { isPrivate?: boolean; identity?: Identity; platform?: PlatformName; name?: string } = {},
): CommandContext {
  return {
    asking: { identity, address: `${platform}:${senderId}`, requestId: `update of ${senderId}` },
    chat: { platform, id: isPrivate ? senderId : `group of ${senderId}`, isPrivate },
    sender: { id: senderId, name },
    signal: new AbortController().signal,
    log: fakeLog(),
  }
}
