import { expect, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { handle } from '@/core/queue/task'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { numbered } from '@/testing/numbered'
import type { Claimed } from '../driver'
import { packEnvelope } from '../envelope'
import { sortClaimed } from './claims'
import { suspectCrashes, workerLimits } from './limits'
import { queueMeters } from './meters'

const count = numbered()
const meters = queueMeters(countingMetrics(), 'default').ofTask(count.name)
const skill = { ...handle(count, async () => {}), meters }
const envelope = packEnvelope({ task: count.name, payload: { n: 1 }, enqueuedAtMs: 0, headers: {}, said: {} })
const claimed = (id: string, crashes: number): Claimed => ({ id, attempt: crashes + 1, failures: 0, crashes, envelope })

function sorted(tasks: readonly Claimed[], isSuspectRunning = false) {
  const { runs, finishes } = sortClaimed(tasks, 'nonce', performance.now(), {
    ...{ queue: 'default', limits: workerLimits, log: fakeLog(), clock: systemClock, random: () => 0.5 },
    skills: { of: () => skill, unknown: meters },
    isRunning: () => false,
    isSuspectRunning: () => isSuspectRunning,
  })
  const putOff = finishes.map(finish => [finish.id, finish.outcome, finish.outcome === 'snooze' ? finish.delayMs : undefined])
  return { runs: runs.map(({ id }) => id), putOff }
}

test('of tasks whose workers died again and again none is started beside another', () => {
  const [one, two] = [claimed('one', suspectCrashes), claimed('two', suspectCrashes + 1)]
  const other = claimed('other', suspectCrashes - 1)
  expect(sorted([one, other])).toEqual({ runs: ['one', 'other'], putOff: [] })
  expect(sorted([one, other], true)).toEqual({ runs: ['other'], putOff: [['one', 'snooze', workerLimits.apartMs / 2]] })
  expect(sorted([one, other, two])).toEqual({
    runs: ['other'],
    putOff: [
      ['one', 'snooze', workerLimits.apartMs],
      ['two', 'snooze', workerLimits.apartMs],
    ],
  })
})
