/** A client of server-sent events as a browser's is (WHATWG HTML §9.2), which says what it has got. */
export interface EventSourceClient {
  status: number
  headers: Headers
  events: ReceivedEvent[]
  comments: string[]
  /** Of the last event with an id, also across streams. */
  lastEventId(): string
  /** The first event from now on, or already there and not yet taken, that fits. */
  next(fits?: (event: ReceivedEvent) => boolean, limitMs?: number): Promise<ReceivedEvent>
  /** Resolves when the server has ended it, with the moment; rejects when that takes longer. */
  ended(limitMs?: number): Promise<number>
  close(): void
}

export interface ReceivedEvent {
  event: string
  id: string
  data: EventData
  atMs: number
}

// What each topic has is known by its test.
export interface EventData {
  items: Record<string, unknown>[]
  isPartial?: boolean
  reason?: string
  topic?: string
}

export async function openEvents(
  url: string,
  { headers = {}, lastEventId = '' }: { headers?: Record<string, string>; lastEventId?: string } = {},
): Promise<EventSourceClient> {
  const aborting = new AbortController()
  const known: Record<string, string> = lastEventId ? { 'last-event-id': lastEventId } : {}
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...known, ...headers }, signal: aborting.signal })
  const events: ReceivedEvent[] = []
  const comments: string[] = []
  const end = Promise.withResolvers<number>()
  let last = lastEventId
  let taken = 0
  let arrived = Promise.withResolvers<void>()

  function take(block: string): void {
    const fields: Record<string, string> = {}
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':')
      const value = line.slice(colon + 1).replace(/^ /, '')
      if (colon === 0) comments.push(value)
      else fields[line.slice(0, colon)] = value
    }
    if (fields['id'] !== undefined) last = fields['id']
    if (fields['data'] !== undefined)
      events.push({ event: fields['event'] ?? 'message', id: last, data: JSON.parse(fields['data']), atMs: performance.now() })
    arrived.resolve()
    arrived = Promise.withResolvers()
  }

  async function read(): Promise<void> {
    let rest = ''
    const decoder = new TextDecoder()
    try {
      for await (const piece of response.body ?? []) {
        const blocks = (rest + decoder.decode(piece, { stream: true })).split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) take(block)
      }
    } catch {
      // Cut off, or closed by us.
    }
    end.resolve(performance.now())
    arrived.resolve()
  }
  void read()

  const late = (limitMs: number, what: string) =>
    Bun.sleep(limitMs).then(() => {
      throw new Error(`${what} within ${limitMs} ms; there were ${JSON.stringify(events.map(({ event }) => event))}`)
    })

  return {
    ...{ status: response.status, headers: response.headers, events, comments },
    lastEventId: () => last,
    async next(fits = () => true, limitMs = 10_000) {
      const tooLate = late(limitMs, 'no such event came')
      tooLate.catch(() => {})
      for (;;) {
        while (taken < events.length) {
          const event = events[taken++] as ReceivedEvent
          if (fits(event)) return event
        }
        await Promise.race([arrived.promise, tooLate])
      }
    },
    ended(limitMs = 10_000) {
      const tooLate = late(limitMs, 'the stream did not end')
      tooLate.catch(() => {})
      return Promise.race([end.promise, tooLate])
    },
    close: () => aborting.abort(),
  }
}
