import { yearMs } from './clock'
import { exitCodes, StartError } from './error'
import { type Check, faultsAmong, text, whole } from './queue/checks'
import { concurrencyCheck, rateFault } from './queue/limit'
import { fileOf, type PoolRule, type QueueRule, type QueueSlots, type Role, type SharedRule, type Works } from './role'

/** What roles work, of one process or of all: queues with their rules, and the slots that several of them share. */
export interface AllWorks {
  readonly queues: Works
  readonly pools: Readonly<Record<string, PoolRule>>
}

const slotsMax = 9999
const weightMax = 1000
const backlogMax = 1_000_000_000
const namePattern = /^[a-z][a-z0-9-]{0,63}$/

const sharedChecks: Record<keyof SharedRule, Check> = {
  concurrencyMax: concurrencyCheck,
  rate: rateFault,
  backlogMax: whole(1, backlogMax),
  keepDeadMs: whole(1, yearMs),
}
const queueChecks: Record<string, Check> = {
  concurrency: whole(1, slotsMax),
  pool: text(() => true, 'the name of a pool'),
  weight: whole(1, weightMax),
  ...sharedChecks,
}
const poolChecks: Record<keyof PoolRule, Check> = {
  concurrency: whole(1, slotsMax),
  order: text(value => value === 'weighted' || value === 'strict', "'weighted' or 'strict'"),
}

/**
 * The queues that roles work, and their pools; the larger number of slots where two roles have one.
 * @throws StartError with the file and the remedy, for what cannot be worked as it is said, or is said in two ways
 */
export function worksOf(roles: readonly Role[]): AllWorks {
  const queues = new Map<string, { rule: QueueRule; role: Role }>()
  const pools = new Map<string, { rule: PoolRule; role: Role }>()
  for (const role of roles) {
    checkRole(role)
    for (const [name, rule] of Object.entries(role.pools ?? {})) {
      const other = pools.get(name)
      if (other && orderOf(other.rule) !== orderOf(rule)) throw differ(`the pool ${name}`, 'order', other.role, role)
      pools.set(name, { rule: larger(other?.rule, rule), role })
    }
    for (const [name, rule] of Object.entries(role.works ?? {})) {
      const other = queues.get(name)
      const odd = other && differing(other.rule, rule)
      if (odd) throw differ(`the queue ${name}`, odd, other.role, role)
      queues.set(name, { rule: 'concurrency' in rule ? larger(other?.rule as typeof rule | undefined, rule) : rule, role })
    }
  }
  for (const [name, { role }] of pools)
    if (queues.has(name)) throw new StartError(`${fileOf(role)}: a pool and a queue are both named ${name}; give the pool another name`)
  return { queues: rulesOf(queues), pools: rulesOf(pools) }
}

function checkRole(role: Role): void {
  const { works = {}, pools = {} } = role
  const refuse = (what: string) => new StartError(`${fileOf(role)}: ${what}`)
  for (const [name, rule] of Object.entries(pools)) {
    checkNamed('pool', name, faultsAmong({ ...rule, concurrency: rule.concurrency ?? 'none' }, poolChecks), refuse)
    if (!Object.values(works).some(each => poolOf(each) === name))
      throw refuse(`no queue has its slots from the pool ${name}; give one { pool: '${name}' }, or remove the pool`)
  }
  for (const [name, rule] of Object.entries(works)) {
    checkNamed('queue', name, faultsAmong(rule, queueChecks), refuse)
    const said = rule as { concurrency?: number; pool?: string; weight?: number }
    const remedy = `say { concurrency: 8 } for slots of its own, or { pool: '…' } for those of a pool`
    if ((said.concurrency === undefined) === (said.pool === undefined))
      throw refuse(`the queue ${name} has ${said.pool === undefined ? 'no slots' : 'slots of its own and of a pool'}; ${remedy}`)
    if (said.pool === undefined && said.weight !== undefined)
      throw refuse(`the queue ${name} has a weight and no pool, within which alone it means something; ${remedy}`)
    if (said.pool !== undefined && !Object.hasOwn(pools, said.pool)) {
      const known = Object.keys(pools).join(', ') || 'none'
      throw refuse(
        `the queue ${name} is to have slots of the pool ${said.pool}, which is not declared there (pools are: ${known}); add pools: { '${said.pool}': { concurrency: 32 } }`,
      )
    }
  }
}

function checkNamed(
  what: string,
  name: string,
  faults: readonly { pointer: string; detail: string }[],
  refuse: (what: string) => StartError,
): void {
  if (!namePattern.test(name))
    throw refuse(`${JSON.stringify(name)} cannot be the name of a ${what}: 1–64 small letters, digits and -, beginning with a letter`)
  if (faults.length > 0)
    throw refuse(`the ${what} ${name} cannot be so: ${faults.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ')}`)
}

export const poolOf = (slots: QueueSlots): string | undefined => ('pool' in slots ? slots.pool : undefined)
export const weightOf = (slots: QueueSlots): number => ('weight' in slots && slots.weight) || 1
export const orderOf = ({ order = 'weighted' }: PoolRule): 'weighted' | 'strict' => order

/** Which part of the rules of a queue two roles do not agree on. Only how many slots it has of its own is each one's business. */
function differing(one: QueueRule, other: QueueRule): string | undefined {
  if (poolOf(one) !== poolOf(other)) return 'pool'
  if (weightOf(one) !== weightOf(other)) return 'weight'
  return (Object.keys(sharedChecks) as (keyof SharedRule)[]).find(name => !Bun.deepEquals(one[name], other[name]))
}

const differ = (what: string, part: string, one: Role, other: Role) =>
  new StartError(`${fileOf(one)} and ${fileOf(other)} differ in the ${part} of ${what}; say the same in both`)

const larger = <R extends { concurrency: number }>(other: R | undefined, rule: R): R =>
  other && other.concurrency > rule.concurrency ? { ...rule, concurrency: other.concurrency } : rule

const rulesOf = <R>(found: ReadonlyMap<string, { rule: R }>): Record<string, R> =>
  Object.fromEntries([...found].map(([name, { rule }]) => [name, rule]))

/**
 * The same with the numbers of the setting `queue.concurrency`, `mail:4`, in the place of the roles'. It names queues with slots of their
 * own, and pools, also those of other processes, since all may share a file.
 * @param all of all roles that there are
 * @throws StartError with exit code 78 for one that there is not, that is said twice, or that has no slots of its own
 */
export function withConcurrency(works: AllWorks, all: AllWorks, said: readonly string[] = []): AllWorks {
  const names = [...Object.keys(all.queues).filter(name => poolOf(all.queues[name] as QueueRule) === undefined), ...Object.keys(all.pools)]
  const refuse = (what: string) =>
    new StartError(`queue.concurrency: ${what}; what has slots are ${names.join(', ')}`, exitCodes.configuration)
  const numbers = new Map<string, number>()
  for (const one of said) {
    const [name = '', number = ''] = one.split(':')
    const queue = Object.hasOwn(all.queues, name) ? all.queues[name] : undefined
    const pool = queue && poolOf(queue)
    if (pool !== undefined) throw refuse(`the queue ${name} has slots of the pool ${pool}, so say ${pool}:${number}`)
    if (!names.includes(name)) throw refuse(`no role works a queue ${JSON.stringify(name)}, nor has a pool of this name`)
    if (numbers.has(name)) throw refuse(`${name} is said twice`)
    numbers.set(name, Number(number))
  }
  const numbered = <R extends object>(rules: Readonly<Record<string, R>>) =>
    Object.fromEntries(
      Object.entries(rules).map(([name, rule]) => {
        const concurrency = numbers.get(name)
        return [name, concurrency === undefined ? rule : { ...rule, concurrency }]
      }),
    )
  return { queues: numbered(works.queues), pools: numbered(works.pools) }
}
