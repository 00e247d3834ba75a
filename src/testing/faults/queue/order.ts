import type { Database } from '@/core/database'
import type { Queue } from '@/core/queue/queue'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { createStore } from '@/core/store'
import { defineTable } from '@/core/table'

/** A row, and the task that is to follow it: there are as many of one as of the other, whatever is killed. */
export const orders = defineTable('order', { title: Type.String({ maxLength: 100 }) })
export const ship = defineTask('order.ship', Type.Object({ orderId: Type.String() }, { additionalProperties: false }))

/** @returns the id of both */
export async function placeOrder(tx: Database, queue: Pick<Queue, 'enqueue'>): Promise<string> {
  const { id } = await createStore(tx, orders).create({ title: 'A lamp' })
  await queue.enqueue(ship, { orderId: id }, { id, tx })
  return id
}

/** Ids of all orders that there are. */
export async function placedOrders(db: Database): Promise<Set<string>> {
  const ids = new Set<string>()
  for await (const { id } of createStore(db, orders).iterate({ from: 'primary', batchSize: 1000 })) ids.add(id)
  return ids
}
