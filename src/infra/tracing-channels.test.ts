import { expect, test } from 'bun:test'
import { tracingChannel } from 'node:diagnostics_channel'
import './redis'

// Of ioredis, who asks, too: it is asked of all channels alike.
test('a tracing channel says whether anybody listens', () => {
  const channel = tracingChannel('test:traced')
  expect(channel.hasSubscribers).toBe(false)
  const listener = { asyncEnd: () => {} }
  channel.subscribe(listener as never)
  expect(channel.hasSubscribers).toBe(true)
  channel.unsubscribe(listener as never)
  expect(channel.hasSubscribers).toBe(false)
})
