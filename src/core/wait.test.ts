import { expect, test } from 'bun:test'
import { orAborted, pause, until } from './wait'

const never = new AbortController().signal
const refusal = (work: Promise<unknown>) => work.then(String, (thrown: Error) => thrown.message)

test('what is waited for comes, and nothing stays behind', async () => {
  const atMs = performance.now() + 20.5
  await until(atMs, never)
  expect(performance.now()).toBeGreaterThanOrEqual(atMs)
  await pause(1, never)
  expect(await orAborted(Promise.resolve('done'), never)).toBe('done')
  expect(await refusal(orAborted(Promise.reject(new Error('broken')), never))).toBe('broken')
})

test('an abort ends each at once: a pause quietly, the others with its reason', async () => {
  for (const isEarly of [true, false]) {
    const leaving = new AbortController()
    if (isEarly) leaving.abort(new Error('enough'))
    const startedAtMs = performance.now()
    const waits = [
      pause(60_000, leaving.signal),
      until(startedAtMs + 60_000, leaving.signal),
      orAborted(new Promise(() => {}), leaving.signal),
      orAborted(
        Promise.reject(new Error('later')).finally(() => Bun.sleep(5)),
        leaving.signal,
      ),
    ].map(refusal)
    leaving.abort(new Error('enough'))
    expect(await Promise.all(waits)).toEqual(['undefined', 'enough', 'enough', 'enough'])
    expect(performance.now() - startedAtMs).toBeLessThan(10_000)
  }
})
