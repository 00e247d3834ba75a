/** Content that is sent as it is read, however much it is. */
export interface Download {
  /** ASCII without quotes; what a browser names the file. */
  fileName: string
  mediaType: string
  /** Asked for the next piece when the one before has gone out, so that one or two are in memory at a time. */
  pieces: AsyncIterable<Uint8Array>
}

/**
 * The answer to a request for it. When a piece cannot be had the connection is cut, which is all that can be said by then: chunked answers
 * end in a mark of their own (RFC 9112 §7.1), so the client knows that it has not got all.
 */
export function downloadOf({ fileName, mediaType, pieces }: Download): Response {
  const iterator = pieces[Symbol.asyncIterator]()
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next()
        if (done) controller.close()
        else controller.enqueue(value)
      } catch (thrown) {
        controller.error(thrown)
      }
    },
    async cancel() {
      await iterator.return?.()
    },
  })
  // A file of ours is never to be shown as a page: what is in it comes from others.
  return new Response(stream, { headers: { 'content-type': mediaType, 'content-disposition': `attachment; filename="${fileName}"` } })
}
