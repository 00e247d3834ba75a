import { expect, test } from 'bun:test'
import { fakeLog } from '@/testing/fakes'
import { Readiness, runServices, type Service, together } from './service'

const limits = { drainMs: 0, deadlineMs: 200 }

function recorded() {
  const events: string[] = []
  const service = (name: string, over: Partial<Service> = {}): Service => ({
    name,
    start: async () => void events.push(`start ${name}`),
    stop: async () => void events.push(`stop ${name}`),
    ...over,
  })
  return { events, service }
}

test('services start in order and stop in reverse', async () => {
  const { events, service } = recorded()
  const stop = new AbortController()
  const last = service('c', {
    start: async () => {
      events.push('start c')
      queueMicrotask(() => stop.abort('enough'))
    },
  })
  expect(await runServices([service('a'), service('b'), last], new Readiness(), limits, stop.signal, fakeLog())).toEqual([])
  expect(events).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
})

test('when the third of five fails to start, it and those before it are stopped, and the others never start', async () => {
  const { events, service } = recorded()
  const failing = service('c', { start: () => Promise.reject(new Error('no')) })
  const running = runServices(
    [service('a'), service('b'), failing, service('d'), service('e')],
    new Readiness(),
    limits,
    new AbortController().signal,
    fakeLog(),
  )
  await expect(running).rejects.toThrow('no')
  await running.catch(() => {})
  expect(events).toEqual(['start a', 'start b', 'stop c', 'stop b', 'stop a'])
})

test('it is ready only between the last start and the signal', async () => {
  const readiness = new Readiness()
  const stop = new AbortController()
  const seen: string[] = []
  const watching: Service = {
    name: 'watching',
    start: async () => {
      seen.push(readiness.state)
      setTimeout(() => {
        seen.push(readiness.state)
        stop.abort('enough')
      })
    },
    stop: async () => void seen.push(readiness.state),
  }
  await runServices([watching], readiness, limits, stop.signal, fakeLog())
  expect(seen).toEqual(['starting', 'ready', 'draining'])
})

test('a service that does not stop in time, or fails to, is named, and the others stop all the same', async () => {
  const { events, service } = recorded()
  const stop = new AbortController()
  stop.abort('at once')
  const services = [
    service('a'),
    service('b', { stop: () => new Promise(() => {}) }),
    service('c', { stop: () => Promise.reject(new Error('stuck')) }),
  ]
  const aborted = new AbortController()
  const late = runServices(
    [...services, service('d', { start: async () => aborted.abort('enough') })],
    new Readiness(),
    limits,
    aborted.signal,
    fakeLog(),
  )
  expect(await late).toEqual(['c', 'b'])
  expect(events).toEqual(['start a', 'start b', 'start c', 'stop d', 'stop a'])
  const none = recorded()
  await runServices([none.service('x')], new Readiness(), limits, stop.signal, fakeLog())
  expect(none.events).toEqual([])
})

test('services that belong together start in order and are stopped at the same time, however one of them ends', async () => {
  const { events, service } = recorded()
  const gone = Promise.withResolvers<void>()
  const slow = service('b', {
    stop: async () => {
      await gone.promise
      events.push('stop b')
    },
  })
  const failing = service('c', { stop: () => Promise.reject(new Error('no')) })
  const all = together([service('a'), slow, failing])
  expect(all.name).toBe('a, b, c')
  await all.start()
  const stopping = all.stop()
  expect(events).toEqual(['start a', 'start b', 'start c', 'stop a'])
  gone.resolve()
  await expect(stopping).rejects.toThrow('no')
  expect(events.at(-1)).toBe('stop b')
})
