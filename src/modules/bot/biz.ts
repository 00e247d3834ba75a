import type { Asking } from '@/core/asking'
import type { ChatReceiver } from '@/core/chat'
import { mayGive } from '@/core/command'
import type { Ports } from '@/core/ports'
import type { ChatUpdateBiz } from '@/modules/chat-update'
import { createNews } from './news'
import { type ReceiveTools, receiveBiz } from './receive.biz'
import { type RunTools, runBiz } from './run.biz'
import { type WorkTools, workBiz } from './work.biz'
import { helpText } from './words'

export type BotBiz = ReturnType<typeof botBiz>

/** What becomes of what people say to the bot: received, run, answered. */
export function botBiz(
  ports: Pick<Ports, 'db' | 'clock' | 'log' | 'metrics' | 'queue' | 'chat' | 'commands' | 'processes'> &
    Pick<RunTools, 'identify' | 'refusalIn' | 'audit'> &
    Pick<ReceiveTools, 'left' | 'moved'> & { updates: ChatUpdateBiz },
) {
  const news = createNews()
  const receiver: ChatReceiver = receiveBiz({ ...ports, news })
  const tools: WorkTools = { ...ports, news, run: runBiz(ports) }
  return {
    receiver,
    work: workBiz(tools),
    /** What whoever asks may do. */
    help: async (asking: Asking) => helpText(await mayGive(asking.identity, ports.commands.all()), false),
    /** Of this executable. */
    version: () => ports.processes.own.version,
  }
}
