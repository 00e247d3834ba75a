import type { Readable } from 'node:stream'
import type { DescMessage, Message } from '@bufbuild/protobuf'
import type { ServerCall } from './call'
import { readMessage, writeMessage } from './message'

/** Answers of several messages, each when the caller takes it, and messages of callers, each when it is asked for. */

interface Listening {
  /** Nobody listens any more. */
  isOver(): boolean
  /** @param resolve called when it is over */
  onGiveUp(resolve: () => void): void
}

/**
 * Sends what a method answers. Whoever reads slowly is answered slowly: no more is asked of the method than is taken.
 * @returns whether the method has come to its end
 */
export async function pour(answers: AsyncIterable<object>, desc: DescMessage, call: ServerCall, listening: Listening): Promise<boolean> {
  const iterator = answers[Symbol.asyncIterator]()
  /** The method may wait for what never comes, so it is not waited for any longer than anybody listens. */
  const orOver = <T>(begin: (resolve: (value: T | undefined) => void, reject: (reason: unknown) => void) => void) =>
    new Promise<T | undefined>((resolve, reject) => {
      begin(resolve, reject)
      listening.onGiveUp(() => resolve(undefined))
    })
  let isDone = false
  async function answer(): Promise<IteratorResult<object> | undefined> {
    isDone = true
    const next = await orOver<IteratorResult<object>>((resolve, reject) => void iterator.next().then(resolve, reject))
    isDone = next?.done === true
    return next
  }
  try {
    for (;;) {
      const next = await answer()
      if (next === undefined || listening.isOver()) return false
      if (next.done) return true
      if (!call.write(writeMessage(desc, next.value))) await orOver<void>(resolve => void call.once('drain', resolve))
    }
  } finally {
    // It looks after what it holds, now or when it wakes up.
    if (!isDone) iterator.return?.().catch(() => {})
  }
}

/** What a caller sends, one at a time. @throws as `readMessage` */
export async function* each(desc: DescMessage, messages: Readable): AsyncGenerator<Message> {
  // Else what is still to be answered would be cut off when the last one has come.
  for await (const bytes of messages.iterator({ destroyOnReturn: false })) yield readMessage(desc, bytes)
}
