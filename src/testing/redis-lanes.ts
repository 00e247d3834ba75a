import type { RedisQueueSubject } from './redis-queue'

/** What `scripts/lanes.ts` of the queue on Redis says of its structures, compared with what is there. @returns what is not so */
export async function lanesAmiss({ raw, prefix }: RedisQueueSubject, queue: string): Promise<string[]> {
  const base = `${prefix}:{${queue}}:`
  const amiss: string[] = []
  const lists = new Map<string, number>()
  for (const key of await raw.keys(`${base}l?:*`)) lists.set(key.slice(base.length + 1).replace(':', ''), await raw.llen(key))
  const best = new Map<string, number>()
  for (const name of lists.keys()) {
    const lane = name.slice(1)
    best.set(lane, Math.min(Number(name[0]), best.get(lane) ?? 9))
  }
  const ready = await raw.zrange(`${base}rdy`, 0, '-1', 'WITHSCORES')
  const names = await raw.zrange(`${base}lns`, 0, '-1')
  const held = await raw.hgetall(`${base}blk`)
  const parked = await raw.zrange(`${base}park`, 0, '-1')
  const run = await raw.hgetall(`${base}run`)
  const own = await raw.hgetall(`${base}own`)
  const active = await raw.zrange(`${base}act`, 0, '-1')
  const laned = await raw.hget(`${base}m`, 'laned')
  const places = new Map<string, number>()
  for (let i = 0; i + 1 < ready.length; i += 2) places.set(ready[i] as string, Math.floor(Number(ready[i + 1]) / 2 ** 49))
  const total = [...lists.values()].reduce((sum, each) => sum + each, 0)
  if (Number(laned ?? 0) !== total) amiss.push(`${total} wait in lanes, and ${laned} were counted`)
  if (names.toSorted().join(' ') !== [...lists.keys()].toSorted().join(' '))
    amiss.push(`lists ${[...lists.keys()]}, and known are ${names}`)
  for (const [lane, priority] of best) {
    if (held[lane] === undefined && places.get(lane) !== priority) amiss.push(`${lane} has ${priority} and is ready as ${places.get(lane)}`)
    if (held[lane] !== undefined && !(Number(held[lane]?.[0]) <= priority))
      amiss.push(`${lane} has ${priority} and is held as ${held[lane]}`)
  }
  for (const lane of places.keys()) {
    if (held[lane] !== undefined) amiss.push(`${lane} is ready and held`)
    if (!best.has(lane)) amiss.push(`${lane} is ready and empty`)
  }
  for (const lane of parked) if (held[lane] === undefined) amiss.push(`${lane} is parked and not held`)
  for (const lane of Object.keys(held)) if (!parked.includes(lane) && !run[lane]) amiss.push(`${lane} is held, and nothing of it runs`)
  const counted: Record<string, number> = {}
  for (const owner of Object.values(own)) {
    const lane = laneOfMarks(owner.split(' ')[1] ?? '')
    if (lane !== undefined) counted[lane] = (counted[lane] ?? 0) + 1
  }
  for (const lane of new Set([...Object.keys(counted), ...Object.keys(run)])) {
    if (Number(run[lane] ?? 0) !== (counted[lane] ?? 0)) amiss.push(`${counted[lane] ?? 0} of ${lane} run, and ${run[lane]} were counted`)
  }
  if (active.toSorted().join(' ') !== Object.keys(own).toSorted().join(' ')) amiss.push(`active ${active}, and owned ${Object.keys(own)}`)
  return amiss
}

function laneOfMarks(marks: string): string | undefined {
  const flags = Number.parseInt(marks[0] ?? '0', 16)
  if (!(flags & 4)) return undefined
  const from = flags & 2 ? 23 : 1
  return marks.slice(from + 2, from + 2 + Number.parseInt(marks.slice(from, from + 2), 16))
}
