import { defineErrors } from '@/core/error'
import { Input, type Of, Page, Timestamp, Type } from '@/core/schema'

/** Queues as administrators see them: how full they are, how fast, what their dead letters died of. */

const Count = (description: string) => Type.Integer({ minimum: 0, description })
const closed = { additionalProperties: false } as const

const totals = {
  enqueued: 'Enqueued.',
  done: 'Ended with success.',
  failed: 'Attempts that failed.',
  crashed: 'Attempts whose worker was lost.',
  dead: 'Became dead letters.',
  cancelled: 'Cancelled.',
} as const
type Totals<S> = { [K in keyof typeof totals]: S }
const each = <S>(make: (description: string) => S): Totals<S> =>
  Object.fromEntries(Object.entries(totals).map(([name, description]) => [name, make(description)])) as Totals<S>
const Rate = (description: string) => Type.Number({ minimum: 0, description: `A second: ${description}` })

const Percentiles = (description: string) =>
  Type.Object(
    {
      count: Count('Of how many.'),
      p50Ms: Type.Number({ minimum: 0, description: 'Half of them took no longer.' }),
      p95Ms: Type.Number({ minimum: 0, description: '95 of a hundred took no longer.' }),
      p99Ms: Type.Number({ minimum: 0, description: '99 of a hundred took no longer.' }),
    },
    { ...closed, description },
  )

export const Queue = Type.Object(
  {
    name: Type.String({ description: 'As paths and tasks say it.', examples: ['mail'] }),
    waiting: Count('To be started.'),
    scheduled: Count('Not to be started before their time.'),
    held: Count('Not to be started before others have ended.'),
    active: Count('Being worked on.'),
    done: Count('Ended with success, and kept for a time.'),
    dead: Count('Ended without success, and kept.'),
    isPaused: Type.Boolean({ description: 'Nothing of it is started until somebody resumes it.' }),
    oldestWaitingMs: Type.Optional(Type.Number({ minimum: 0, description: 'Since when the first in line could have been started.' })),
    outbox: Type.Optional(
      Count('Committed and not handed to Redis yet, counted up to 100,000. Absent where the queue is in the database.'),
    ),
    total: Type.Object(each(Count), { ...closed, description: 'Since the queue has been there.' }),
    rates: Type.Optional(
      Type.Object(
        { ...each(Rate), overMs: Type.Number({ minimum: 0, description: 'The time that this is about.' }) },
        { ...closed, description: 'Over the last minute, or `overMs`. Absent until the queue has been worked for some seconds.' },
      ),
    ),
    latencies: Type.Optional(
      Type.Object(
        {
          overMs: Type.Number({ minimum: 0, description: 'The time that this is about.' }),
          wait: Type.Optional(Percentiles('How long tasks waited for their first start since they could have had it.')),
          run: Type.Optional(Percentiles('How long attempts ran.')),
        },
        { ...closed, description: 'Over the last hour, or `overMs`; off by a tenth at most.' },
      ),
    ),
  },
  closed,
)
export type Queue = Of<typeof Queue>

export const QueuePage = Page(Queue)
export type QueuePage = Of<typeof QueuePage>

export const ErrorGroup = Type.Object(
  {
    task: Type.Optional(Type.String({ description: 'Absent when what is stored of them cannot be read.' })),
    error: Type.String({ description: 'The last error of each, with numbers, ids and quoted texts replaced by what they are.' }),
    count: Count('How many.'),
    oldest: Timestamp('When the first of them died.'),
    newest: Timestamp('When the last of them died.'),
    sampleId: Type.String({ description: 'The one that died last.' }),
  },
  closed,
)

export const scannedMax = 100_000
export const ErrorGroupPage = Type.Object(
  {
    ...Page(ErrorGroup).properties,
    items: Type.Array(ErrorGroup, { description: 'The largest first, at most 100: there is one page.' }),
    scanned: Count('Dead letters that were looked at, the newest first.'),
    others: Count('Those of them that are in none of these, since there are more.'),
    isPartial: Type.Boolean({ description: 'There are more dead letters than were looked at; a larger scannedMax looks at more.' }),
  },
  closed,
)
export type ErrorGroupPage = Of<typeof ErrorGroupPage>

export const Finding = Type.Object(
  {
    queue: Type.String({ description: 'The queue.' }),
    id: Type.Optional(Type.String({ description: 'The task.' })),
    problem: Type.String({ description: 'What is wrong.' }),
    remedy: Type.String({ description: 'What was done about it, or could be done.' }),
    isFixed: Type.Boolean({ description: 'Whether it was mended now.' }),
  },
  closed,
)
export type Finding = Of<typeof Finding>

export const FindingPage = Type.Object(
  {
    items: Type.Array(Finding, { description: 'None of a healthy queue.' }),
    nextPageToken: Type.String({ description: 'Empty when all of the queue was looked at: only then is it known to be healthy.' }),
  },
  closed,
)
export type FindingPage = Of<typeof FindingPage>

export const Mend = Input(
  { pageToken: Type.Optional(Type.String({ maxLength: 1024, description: 'nextPageToken of the request before.' })) },
  { description: 'Where to go on; from the beginning without it.' },
)

export const queueAdminErrors = defineErrors({
  QueueNotFound: ['NotFound', 'There is no such queue: no role works one of this name. GET /admin/v1/queues lists those that there are.'],
})
