/** An answer that goes on: server-sent events, as browsers' `EventSource` reads them (WHATWG HTML §9.2). */

/** What is sent next. Asked again when what it gave before has gone out; so whoever reads slowly is asked for seldom. */
export interface Frames {
  /** Text made by the functions below; resolves with undefined when there is nothing more. */
  next(): Promise<string | undefined>
  /** Nobody reads any more. */
  cancel(): void
}

export interface ServerSentEvent {
  event: string
  /** What the client has got so far, with this. It says so when it connects again. One line. */
  id?: string
  data: unknown
}

/** JSON has no line ends outside its strings, and none in them, so it is one line of data. */
export const eventText = ({ event, id, data }: ServerSentEvent): string =>
  `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`

/** Keeps what is between the two from taking the connection for dead. @param text one line */
export const commentText = (text = ''): string => `: ${text}\n\n`

/** How long a client waits before it connects again. */
export const retryText = (retryMs: number): string => `retry: ${retryMs}\n\n`

export const eventStreamType = 'text/event-stream'

export function eventStreamOf(frames: Frames): Response {
  const encoder = new TextEncoder()
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const text = await frames.next()
        if (text === undefined) controller.close()
        else controller.enqueue(encoder.encode(text))
      },
      cancel: () => frames.cancel(),
    },
    // Nothing is made before it can go out: by then there may be something newer.
    { highWaterMark: 0 },
  )
  // Proxies of the kind of nginx would wait for more than there is.
  return new Response(stream, { headers: { 'content-type': eventStreamType, 'x-accel-buffering': 'no' } })
}
