import { test } from 'bun:test'
import fc from 'fast-check'
import { isFull } from '../../faults/scene'
import { onEachQueueStore } from './fixture'
import { playBeside } from './play'
import { movedTimes, realTimes, steps } from './steps'

/** Where time is real, every step waits for some of it. */
const runs = { moved: isFull ? 2000 : 60, real: isFull ? 200 : 10, others: isFull ? 50 : 3 }
const stepsMost = 100
const limitMs = isFull ? 1_800_000 : 60_000

onEachQueueStore('whatever is done with a queue', (store, name) => {
  test(
    'it answers as the model of it does, and what holds of every queue is kept',
    async () => {
      const { isTimeReal } = store()
      await fc.assert(
        fc.asyncProperty(fc.noBias(steps(isTimeReal ? realTimes : movedTimes, stepsMost)), each => playBeside(store(), each)),
        {
          numRuns: isTimeReal ? (name === 'redis' ? runs.real : runs.others) : runs.moved,
          interruptAfterTimeLimit: limitMs / 2,
        },
      )
    },
    limitMs,
  )
})
