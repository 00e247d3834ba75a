import { expect, test } from 'bun:test'
import { createMetrics } from '../../metrics'
import { queueMeters } from './meters'

test('a task that a process knows and never runs has no series, and one that it runs only those of what happened', async () => {
  const metrics = createMetrics({ version: '0', roles: [] })
  const meters = queueMeters(metrics, 'mail')
  const known = meters.ofTask('email.send')
  const seriesOf = async (task: string) => {
    const { text } = await metrics.expose()
    return text.split('\n').filter(line => line.includes(`task="${task}"`))
  }
  expect(await seriesOf('email.send')).toEqual([])
  known.ended.done.add()
  known.ended.done.add()
  expect(await seriesOf('email.send')).toEqual(['bingo_task_attempts_total{queue="mail",task="email.send",outcome="done"} 2'])
  known.seconds.observe(0.2)
  expect(await seriesOf('email.send')).toContain('bingo_task_duration_seconds_count{queue="mail",task="email.send"} 1')
})
