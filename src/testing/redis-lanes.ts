import { runFiller } from '@/infra/queue/redis/scripts/lanes'
import type { RedisQueueSubject } from './redis-queue'

/** What `scripts/lanes.ts` of the queue on Redis says of its structures, compared with what is there. @returns what is not so */
export async function lanesAmiss({ raw, prefix }: RedisQueueSubject, queue: string): Promise<string[]> {
  const base = `${prefix}:{${queue}}:`
  const amiss: string[] = []
  const lists = new Map<string, number>()
  for (const key of await raw.keys(`${base}l?:*`)) lists.set(key.slice(base.length + 1).replace(':', ''), await raw.llen(key))
  const queues = new Set<string>()
  for (let priority = 0; priority <= 9; priority++) {
    for (const lane of await raw.lrange(`${base}q${priority}`, 0, '-1')) {
      if (queues.has(`${priority}${lane}`)) amiss.push(`${lane} is in the turns of ${priority} twice`)
      queues.add(`${priority}${lane}`)
    }
  }
  const names = await raw.zrange(`${base}lns`, 0, '-1')
  const held = await raw.hgetall(`${base}blk`)
  const parked = await raw.zrange(`${base}park`, 0, '-1')
  const run = await raw.hgetall(`${base}run`)
  delete run[runFiller]
  const own = await raw.hgetall(`${base}own`)
  const active = await raw.zrange(`${base}act`, 0, '-1')
  const laned = await raw.hget(`${base}m`, 'laned')
  const total = [...lists.values()].reduce((sum, each) => sum + each, 0)
  if (Number(laned ?? 0) !== total) amiss.push(`${total} wait in lanes, and ${laned} were counted`)
  for (const name of lists.keys()) if (!names.includes(name)) amiss.push(`${name} has tasks and is not known`)
  const heldAt = (name: string) => held[name.slice(1)]?.split(' ')[1]?.includes(name[0] as string) ?? false
  for (const name of names)
    if (queues.has(name) === heldAt(name)) amiss.push(`${name} is ${heldAt(name) ? 'both' : 'neither'} ready and held`)
  for (const name of queues) if (!names.includes(name)) amiss.push(`${name} is ready and not known`)
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
