import { askedBy, type Asking } from '@/core/asking'
import type { Ports } from '@/core/ports'
import type { QueueAdmin } from '@/core/queue/admin'
import { auditedQueues, type QueueAuditLog } from '@/core/queue/audited'
import { type ErrorGroupPage, type FindingPage, type Queue, queueAdminErrors, type QueuePage } from './schema'
import { findingView, queueView } from './views'

export type QueueBiz = ReturnType<typeof queueBiz>

/** A request looks at a queue for so long, and then says where another goes on. */
const checkMaxMs = 2000
/** It tells so many findings at most, and those of the step that brought it there. */
const findingsMax = 1000

/** What administrators do with queues. The port decides what may be; what is done is logged, and written down before it is. */
export function queueBiz({ queueAdmin, log, audit }: Pick<Ports, 'queueAdmin' | 'log'> & { audit: QueueAuditLog }) {
  const acting = (asking: Asking) => auditedQueues(queueAdmin, { audit, by: askedBy(asking), log })

  /** All of them: they are few. */
  async function list(): Promise<QueuePage> {
    return { items: await Promise.all(queueAdmin.queues.map(shown)), nextPageToken: '' }
  }

  const get = async (queue: string): Promise<Queue> => shown(there(queue))

  async function pause(queue: string, asking: Asking): Promise<Queue> {
    await acting(asking).pause(there(queue))
    log.info('a queue was paused', { ...askedBy(asking), queue })
    return shown(queue)
  }

  async function resume(queue: string, asking: Asking): Promise<Queue> {
    await acting(asking).resume(there(queue))
    log.info('a queue was resumed', { ...askedBy(asking), queue })
    return shown(queue)
  }

  async function errors(queue: string, scannedMax?: number): Promise<ErrorGroupPage> {
    const { groups, ...counts } = await queueAdmin.errors(there(queue), scannedMax === undefined ? {} : { scannedMax })
    return { items: groups, nextPageToken: '', ...counts }
  }

  const check = (queue: string, pageToken?: string): Promise<FindingPage> => look(queueAdmin, there(queue), false, pageToken)

  /** Mends what of the findings can be mended. */
  async function mend(queue: string, pageToken: string | undefined, asking: Asking): Promise<FindingPage> {
    const page = await look(acting(asking), there(queue), true, pageToken)
    const mended = page.items.filter(({ isFixed }) => isFixed).length
    log.info('a queue was mended', { ...askedBy(asking), queue, found: page.items.length, mended })
    return page
  }

  /** Step by step, until it is all looked at, there is enough to tell, or it has taken long enough. */
  async function look(admin: Pick<QueueAdmin, 'fsckStep'>, queue: string, fix: boolean, from?: string): Promise<FindingPage> {
    const items: FindingPage['items'] = []
    const endMs = performance.now() + checkMaxMs
    let pageToken = from
    do {
      const step = await admin.fsckStep(queue, { fix, ...(pageToken && { pageToken }) })
      items.push(...step.findings.map(findingView))
      pageToken = step.nextPageToken
    } while (pageToken !== undefined && performance.now() < endMs && items.length < findingsMax)
    return { items, nextPageToken: pageToken ?? '' }
  }

  const shown = async (queue: string): Promise<Queue> => queueView(await queueAdmin.stats(queue))

  function there(queue: string): string {
    if (!queueAdmin.queues.includes(queue)) throw queueAdminErrors.QueueNotFound()
    return queue
  }

  return { list, get, pause, resume, errors, check, mend }
}
