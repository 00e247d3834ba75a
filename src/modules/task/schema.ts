import { dayMs, monthMs, yearMs } from '@/core/clock'
import { taskStates } from '@/core/queue/admin'
import { bulkStates, type BulkAction } from '@/core/queue/bulk'
import { Input, type Of, OneOf, Page, Timestamp, Type } from '@/core/schema'

/** What of tasks is on the wire. What a payload and most options may be is checked where tasks are kept. */

const closed = { additionalProperties: false } as const
const Count = (description: string) => Type.Integer({ minimum: 0, description })

export const QueueName = Type.String({ minLength: 1, maxLength: 64, description: 'A queue that some role works.', examples: ['default'] })
export const State = OneOf(taskStates, {
  description:
    'waiting: to be started; scheduled: not before its time; held: not before others have ended; active: being worked on; done: ended with success, and kept; dead: ended without success, and kept.',
  examples: ['dead'],
})
const TaskName = Type.String({ minLength: 1, maxLength: 64, description: 'A task that some module declares.', examples: ['user.export'] })
const Payload = Type.Unknown({ description: 'What the task is to work on, as it has it.', examples: [{ format: 'csv' }] })

export const NewTask = Input(
  {
    task: TaskName,
    payload: Payload,
    queue: Type.Optional({ ...QueueName, description: 'That of the task when absent.' }),
    id: Type.Optional(
      Type.String({
        maxLength: 128,
        description:
          'Your own, 1–128 printable ASCII characters without spaces and braces: the same id is enqueued once only, until 24 hours after its task has ended, was cancelled or deleted.',
      }),
    ),
    priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 9, description: '0 is first, 9 last; that of the task when absent.' })),
    delayMs: Type.Optional(Type.Integer({ minimum: 0, maximum: yearMs, description: 'Not before so many milliseconds.' })),
    at: Type.Optional(Type.String({ maxLength: 64, description: 'Instead of delayMs: an RFC 3339 instant.' })),
    deadline: Type.Optional(Type.String({ maxLength: 64, description: 'An RFC 3339 instant after which it is not started any more.' })),
    maxRetries: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, description: 'How often it may fail and be tried again.' })),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: dayMs, description: 'How long one attempt may take.' })),
    keepForMs: Type.Optional(Type.Integer({ minimum: 0, maximum: monthMs, description: 'How long it stays when it is done.' })),
    key: Type.Optional(Type.String({ maxLength: 95, description: 'Of whom it is, under the limit of its task: a tenant, a host.' })),
    group: Type.Optional(Type.String({ maxLength: 1000, description: 'Which of the groups of its task it belongs to.' })),
    uniqueFor: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: yearMs,
        description: 'While a task with the same unique key lives, and at most so many milliseconds, another is not enqueued.',
      }),
    ),
    uniqueKey: Type.Optional(Type.String({ maxLength: 1000, description: 'What is unique; the name and payload when absent.' })),
  },
  { description: 'What is to be done, and how.' },
)
export type NewTask = Of<typeof NewTask>

export const EnqueuedTask = Type.Object(
  {
    id: Type.String({ description: 'Of the task.' }),
    status: OneOf(['enqueued', 'duplicate', 'unique', 'joined'], {
      description:
        'duplicate: a task with this id is, or was lately, there. unique: id is that of the task that has the unique key. joined: it was added to the group whose id this is. Of all but enqueued and joined nothing was enqueued.',
    }),
  },
  closed,
)
export type EnqueuedTask = Of<typeof EnqueuedTask>

const Progress = Type.Object(
  {
    done: Type.Optional(Type.Number({ description: 'How many are done.' })),
    total: Type.Optional(Type.Number({ description: 'Of how many.' })),
    message: Type.Optional(Type.String({ description: 'For people.' })),
    state: Type.Optional(Type.Unknown({ description: 'For the next attempt: from where to go on.' })),
  },
  { ...closed, description: 'How far the last attempt has come, as it said.' },
)

export const Task = Type.Object(
  {
    id: Type.String({ description: 'Of the task.' }),
    queue: Type.String({ description: 'Where it is.' }),
    state: State,
    task: Type.Optional(Type.String({ description: 'Its name. Absent, as payload, when what is stored cannot be read.' })),
    payload: Type.Optional(Type.Unknown({ description: 'Of a group a list of the first hundred.' })),
    groupSize: Type.Optional(Count('How many payloads there are, of a group.')),
    headers: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'What was handed on when it was enqueued.' })),
    priority: Type.Integer({ description: '0 is first, 9 last.' }),
    enqueuedAt: Type.Optional(Timestamp('When it was enqueued.')),
    runAt: Type.Optional(Timestamp('When it may start, of a scheduled one.')),
    leaseUntil: Type.Optional(Timestamp('Until when its worker has it, unless it says that it still works.')),
    worker: Type.Optional(Type.String({ description: 'Who works on it.' })),
    isInOutbox: Type.Optional(
      Type.Boolean({ description: 'It has committed, and has not been handed to Redis yet: lists do not have it.' }),
    ),
    isCancelled: Type.Optional(Type.Boolean({ description: 'Somebody asked for its end; its worker has not said yet that it has.' })),
    deadAt: Type.Optional(Timestamp('When it became a dead letter.')),
    keptUntil: Type.Optional(Timestamp('Until when it is kept, of a done one.')),
    result: Type.Optional(Type.Unknown({ description: 'What its handler returned.' })),
    progress: Type.Optional(Progress),
    lane: Type.Optional(Type.String({ description: 'Its limit, and of whom it is under that.' })),
    heldFor: Type.Optional(Count('For how many others it is held still.')),
    attempt: Count('How often it was started.'),
    failures: Count('How often it has failed.'),
    crashes: Count('How often its worker was lost.'),
    errors: Type.Array(
      Type.Object(
        {
          at: Type.String({ description: 'When.' }),
          attempt: Count('In which attempt.'),
          message: Type.String({ description: 'What.' }),
        },
        closed,
      ),
      { description: 'The last ten, the oldest first.' },
    ),
  },
  closed,
)
export type Task = Of<typeof Task>

export const TaskPage = Page(Task)
export type TaskPage = Of<typeof TaskPage>

export const ChangedTask = Type.Object(
  {
    id: Type.String({ description: 'Of the task.' }),
    result: OneOf(['retried', 'cancelled', 'cancelling', 'moved'], {
      description: 'cancelling: it runs, its worker was told to end it, and it is not retried.',
    }),
  },
  closed,
)
export type ChangedTask = Of<typeof ChangedTask>

export const Place = Input(
  { queue: Type.Optional({ ...QueueName, description: 'Where it is; looked for in all queues when absent.' }) },
  { description: 'Which of the tasks of this id, where there are several.' },
)
export const Move = Input({ ...Place.properties, to: { ...QueueName, description: 'The queue into which it goes.' } })

/** A request does so many at most; one that only counts is bound by its time alone. */
export const bulkTasksMax = 1000

/** All that is said must hold of a task; `{}` is all of them, which has to be said. */
const filterOf = (action: BulkAction) =>
  Input(
    {
      states: Type.Optional(
        Type.Array(OneOf(bulkStates[action], { description: 'A state.' }), {
          minItems: 1,
          maxItems: taskStates.length,
          description: `Of ${bulkStates[action].join(', ')}; all of these when absent.`,
        }),
      ),
      task: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'Its name.', examples: ['user.export'] })),
      olderThanMs: Type.Optional(
        Type.Integer({ minimum: 0, maximum: 10 * yearMs, description: 'Dead letters since they died, others since they were enqueued.' }),
      ),
      error: Type.Optional(
        Type.String({ minLength: 1, maxLength: 1000, description: 'Text that its last error contains, capitals and all.' }),
      ),
    },
    { description: 'All that is said must hold of a task; {} is every task.' },
  )
export type Filter = Of<ReturnType<typeof filterOf>>

const bulkOf = (action: BulkAction) => ({
  queue: QueueName,
  filter: filterOf(action),
  isDryRun: Type.Optional(Type.Boolean({ description: 'Only count what would be done.' })),
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      description: 'No more than so many are tried, by this request; of the next say how many are left.',
    }),
  ),
  pageToken: Type.Optional(Type.String({ maxLength: 2048, description: 'nextPageToken of the request before, with the same body.' })),
})
export const BulkRetry = Input(bulkOf('retry'))
export const BulkCancel = Input(bulkOf('cancel'))
export const BulkDelete = Input(bulkOf('delete'))
export const BulkMove = Input({ ...bulkOf('move'), to: { ...QueueName, description: 'The queue into which they go.' } })
export type BulkAsked = Pick<Of<typeof BulkMove>, 'queue' | 'isDryRun' | 'limit' | 'pageToken'> & { filter: Filter; to?: string }

export const BulkResult = Type.Object(
  {
    total: Count('How many there were in these states when the request came.'),
    seen: Count('How many of them this request has looked at.'),
    matched: Count('How many of those fit.'),
    done: Count('With how many of those it was done; 0 of a dry run.'),
    skipped: Count('How many were in another state by then, or could not be done.'),
    nextPageToken: Type.String({
      description:
        'There may be more: send the same request with it as pageToken. Empty when all were looked at, or the limit was reached.',
    }),
  },
  closed,
)
export type BulkResult = Of<typeof BulkResult>
