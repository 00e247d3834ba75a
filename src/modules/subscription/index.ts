import { defineModule } from '@/core/module'
import { subscriptionBiz } from './biz'
import { subscriptionCommands } from './commands'
import { subscriptionController } from './controller'
import { chats, subscriptions } from './schema'
import { chatStore, subscriptionStore } from './store'

/** Which chats want to be told of what. Modules declare what there is to be told of in their `topics`, and send it by themselves. */
export const subscription = defineModule({
  name: 'subscription',
  needs: ['db', 'clock', 'log', 'topics'],
  tables: [chats, subscriptions],
  permissions: [{ name: 'announcements:read', summary: 'See announcements, and how many chats subscribe to what' }],
  create(ports) {
    const biz = subscriptionBiz({ ...ports, chats: chatStore, subscriptions: subscriptionStore })
    return { biz, faces: { admin: subscriptionController(biz), commands: subscriptionCommands(biz) } }
  },
})
export type { ChatOf, SubscriptionBiz } from './biz'
export type { Subscriber } from './store'
