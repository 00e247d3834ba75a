import { everyone } from '@/core/access'
import { type AnyCommand, type CommandContext, defineCommand } from '@/core/command'
import { Input, Type } from '@/core/schema'
import { topicNameMax } from '@/core/topic'
import type { SubscriptionBiz } from './biz'

const allTopics = 'all'
const topicArg = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: topicNameMax, description }))

/** What is said of topics, in private chats and in groups, where whoever may speak to the bot decides for the group. */
export function subscriptionCommands(biz: SubscriptionBiz): AnyCommand[] {
  async function listed(chat: CommandContext['chat']): Promise<string> {
    const topics = await biz.list(chat)
    if (topics.length === 0) return 'There is nothing to subscribe to.'
    const lines = topics.map(({ name, summary, isSubscribed }) => `${name}: ${summary}${isSubscribed ? ' (subscribed)' : ''}`)
    return `What there is to subscribe to:\n${lines.join('\n')}\n\nSend /subscribe and a name to get it, /unsubscribe and a name to end it.`
  }

  return [
    defineCommand({
      name: 'subscribe',
      summary: 'Get announcements in this chat; without a topic: see which there are.',
      args: Input({ topic: topicArg('What to get; leave it out to see what there is.') }),
      access: [everyone()],
      async run({ topic }, { chat }) {
        if (topic === undefined) return listed(chat)
        const { name, summary } = biz.known(topic.trim().toLowerCase())
        const isNew = await biz.subscribe(chat, name)
        const where = chat.isPrivate ? 'You get' : 'This chat gets'
        return isNew ? `${where} ${name} from now on: ${summary}.` : `${where} ${name} already.`
      },
    }),
    defineCommand({
      name: 'unsubscribe',
      summary: 'Get no more announcements in this chat: of a topic, or of all.',
      args: Input({ topic: topicArg('What to end; all, or nothing, for all.') }),
      access: [everyone()],
      async run({ topic = allTopics }, { chat }) {
        const name = topic.trim().toLowerCase()
        const ended = await biz.unsubscribe(chat, name === allTopics ? undefined : name)
        if (ended > 0) return name === allTopics ? 'All subscriptions of this chat have ended.' : `The subscription to ${name} has ended.`
        return name === allTopics
          ? 'This chat subscribes to nothing.'
          : 'This chat does not subscribe to that. Send /subscribe to see what it does.'
      },
    }),
  ]
}
