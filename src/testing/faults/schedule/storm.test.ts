import { expect } from 'bun:test'
import { type BackingName, testOn } from '../../backings'
import { isFull } from '../scene'
import { auditTicks, type KnownPattern } from './audit'
import { definitionOf, patternsOf } from './patterns'
import { openScheduleScene, type ScheduleScene } from './scene'

/** The figure of the scheduler: those who fire are killed again and again, and each tick has one task. */
const schedulers = 5
const count = 200
/** About as long as this on each database. */
const lengthMs = isFull ? 600_000 : 15_000
const killEveryMs = isFull ? { least: 3000, most: 8000 } : { least: 1500, most: 3500 }
const killsMin = isFull ? 60 : 4
const redisKills = 2
/** On a machine that does nothing else. In the ordinary run others run beside it. */
const lateMs = isFull ? 250 : 2000
/** What was created may be seen so late. */
const seenWithinMs = 2000
const settleLimitMs = 60_000
const backings: readonly BackingName[] = isFull ? ['sqlite', 'mariadb', 'mysql'] : ['sqlite', 'mariadb']

for (const name of backings) {
  testOn(
    name === 'sqlite' ? [] : [name, 'redis'],
    `Each tick of each schedule has one task, whoever is killed, on ${name}`,
    async () => {
      await using scene = await openScheduleScene(name)
      await Promise.all(Array.from({ length: schedulers }, scene.start))
      const patterns: KnownPattern[] = []
      for (const [i, pattern] of patternsOf(count).entries()) {
        const { id } = await scene.schedules.create(definitionOf(pattern, i, 'user.removeExport'))
        patterns.push({ ...pattern, id })
      }
      await Bun.sleep(seenWithinMs)
      const fromMs = Date.now()
      const endMs = fromMs + lengthMs
      const [kills, redisKilled] = await Promise.all([killSchedulers(scene, endMs), killRedis(scene, endMs)])
      const untilMs = Date.now()
      for (const { id } of patterns) await scene.schedules.pause(id)
      await scene.settled(settleLimitMs)
      const { expected, healthy, all } = await auditTicks(scene, patterns, fromMs, untilMs)
      expect(await scene.stop()).toEqual(Array(schedulers).fill(0))
      console.log(
        `${name}: ${count} schedules, ${expected} ticks in ${Math.round((untilMs - fromMs) / 1000)} s, ${kills} schedulers and ${redisKilled} times Redis killed; ` +
          `late while healthy ${said(healthy)}, always ${said(all)}`,
      )
      expect(kills).toBeGreaterThanOrEqual(killsMin)
      expect(healthy.count).toBeGreaterThan(isFull ? expected / 5 : 0)
      expect(healthy.p99Ms).toBeLessThanOrEqual(lateMs)
    },
    lengthMs + 180_000,
  )
}

const said = ({ count, p50Ms, p99Ms, mostMs }: Awaited<ReturnType<typeof auditTicks>>['all']) =>
  `p50 ${p50Ms} ms, p99 ${p99Ms} ms, most ${mostMs} ms of ${count}`

/** At a time. Of those that wait for a tick one fires what is due, so of many most of the time one is hit. */
const victims = [1, 3, 2]
/** What was learned of the last seconds says when tasks are written: a little before, while and a little after that. */
const learnedMs = 3000
const around = { least: 0.4, most: 1.2 }

async function killSchedulers(scene: ScheduleScene, endMs: number): Promise<number> {
  let kills = 0
  for (let round = 0; Date.now() < endMs; round++) {
    await Bun.sleep(between(killEveryMs))
    const usualMs = (await scene.witness.usualLateMs(Date.now() - learnedMs)) ?? 0
    await Bun.sleep(1000 - (Date.now() % 1000) + usualMs * between(around))
    const count = victims[round % victims.length] ?? 1
    await scene.kill(count)
    kills += count
  }
  return kills
}

const between = ({ least, most }: { least: number; most: number }) => least + Math.random() * (most - least)

async function killRedis(scene: ScheduleScene, endMs: number): Promise<number> {
  if (!scene.redis) return 0
  const everyMs = (endMs - Date.now()) / (redisKills + 1)
  for (let i = 0; i < redisKills; i++) {
    await Bun.sleep(everyMs)
    await scene.killRedis()
  }
  return redisKills
}
