import type { PoolRule } from '@/core/role'

/**
 * How many tasks at a time: the slots of a queue alone, or of several. What takes a slot is an attempt that runs, one that is stuck, and
 * one that a claim under way may bring.
 *
 * Shared ones are given by stride scheduling (Waldspurger and Weihl, 1995): each start moves its queue on by 1 / weight, and the queue that
 * is furthest behind is next. So starts have the proportions of the weights whatever tasks take, and however many are claimed at once. A queue
 * without work gives its turns away and gets none back. In a strict pool the queues of the largest weight are next, and among them
 * the one that is furthest behind.
 */
export interface Slots {
  /** A queue that takes slots of these. */
  seat(queue: string, taker: SlotTaker): Seat
}

/** A queue that is worked, as its slots see it. */
export interface SlotTaker {
  /** How many slots it takes. */
  taken(): number
  /** Whether it would take more: it has work, as far as it knows, or has asked and had no answer. */
  isHungry(): boolean
  /** There may be slots for it. */
  offer(): void
}

export interface Seat {
  readonly isShared: boolean
  /** Whether others want slots of the same. */
  isContended(): boolean
  /** How many it may claim now. Those that others should have first are left for them, also while these wait for an answer. */
  free(): number
  /** How many are free, whoever should have them. */
  room(): number
  /** It claims so many. */
  claims(count: number): void
  /** Of what it claimed so many have not come. */
  unused(count: number): void
  /** It takes fewer slots, or wants no more. */
  freed(): void
}

/** Of one queue alone. */
export const ownSlots = (concurrency: number): Slots => ({
  seat(_, taker) {
    const free = () => concurrency - taker.taken()
    return { isShared: false, isContended: () => false, free, room: free, claims() {}, unused() {}, freed() {} }
  },
})

interface Member {
  taker: SlotTaker
  /** What one start moves it on by. */
  stride: number
  /** Members of a higher rank go first. */
  rank: number
  /** How far it has come. */
  pass: number
  /** As far as a claim has been thought through. */
  thought: number
  wasHungry: boolean
}

/** @param weights of the queues that share them */
export function sharedSlots({ concurrency, order = 'weighted' }: PoolRule, weights: Readonly<Record<string, number>>): Slots {
  const members: Member[] = []
  /** Of each rank, how far the one had come that was last given a slot: who has had no work begins there. */
  const nowAt = new Map<number, number>()

  function offerOthers(own: Member): void {
    for (const member of members) if (member !== own && member.taker.isHungry()) member.taker.offer()
  }

  function room(): number {
    let left = concurrency
    for (const { taker } of members) left -= taker.taken()
    return Math.max(0, left)
  }

  function free(own: Member): number {
    let left = room()
    if (left === 0) return 0
    const hungry = members.filter(isHungryNow)
    if (hungry.length < 2) return left
    let mine = 0
    for (; left > 0; left--) {
      const next = nextOf(hungry)
      next.thought += next.stride
      if (next === own) mine++
    }
    return mine
  }

  function isHungryNow(member: Member): boolean {
    const isHungry = member.taker.isHungry()
    if (isHungry && !member.wasHungry) member.pass = Math.max(member.pass, nowAt.get(member.rank) ?? 0)
    member.wasHungry = isHungry
    member.thought = member.pass
    return isHungry
  }

  return {
    seat(queue, taker) {
      const weight = weights[queue] ?? 1
      const isStrict = order === 'strict'
      const own: Member = {
        ...{ taker, pass: 0, thought: 0, wasHungry: false },
        stride: isStrict ? 1 : 1 / weight,
        rank: isStrict ? weight : 0,
      }
      members.push(own)
      return {
        isShared: true,
        isContended: () => members.some(member => member !== own && member.taker.isHungry()),
        free: () => free(own),
        room,
        claims(count) {
          nowAt.set(own.rank, Math.max(nowAt.get(own.rank) ?? 0, own.pass))
          own.pass += count * own.stride
        },
        unused(count) {
          own.pass -= count * own.stride
          offerOthers(own)
        },
        freed: () => offerOthers(own),
      }
    },
  }
}

function nextOf(members: readonly Member[]): Member {
  let next = members[0] as Member
  for (const member of members) if (member.rank > next.rank || (member.rank === next.rank && member.thought < next.thought)) next = member
  return next
}
