import { defineModule } from '@/core/module'
import { auditEvent } from '@/modules/audit-event'
import { subscription } from '@/modules/subscription'
import { announcementBiz, audits } from './biz'
import { announcementController } from './controller'
import { announcements, deliver, deliveries, sendAnnouncement } from './schema'
import { announcementStore, deliveryStore } from './store'
import { announcementTasks } from './tasks'

/** What administrators tell all chats that have subscribed to a topic. The bot role sends it, since it has the tokens. */
export const announcement = defineModule({
  name: 'announcement',
  needs: ['db', 'clock', 'metrics', 'queue', 'chat', 'topics'],
  uses: { subscription, auditEvent },
  tables: [announcements, deliveries],
  tasks: [sendAnnouncement, deliver],
  permissions: [{ name: 'announcements:write', summary: 'Announce something to all chats that subscribe to a topic, and cancel it' }],
  topics: [
    { name: 'news', summary: 'What is new' },
    { name: 'maintenance', summary: 'When something is closed, and open again' },
  ],
  audits,
  create(ports, { subscription: subscriptions, auditEvent: audit }) {
    const biz = announcementBiz({ ...ports, announcements: announcementStore, deliveries: deliveryStore, subscriptions, audit })
    return { biz, faces: { admin: announcementController(biz), tasks: announcementTasks(biz) } }
  },
})
export type { AnnouncementBiz } from './biz'
