/**
 * Waits that are mostly of one length, so that they end in the order in which they began: one timer is enough for all of them. A timer
 * for each would cost a statement on MySQL 5 µs.
 */
export interface Waits {
  /**
   * @param late called once the time is over, unless `end` was called before
   * @param limitMs shorter than usual, which takes a timer of its own; longer ones are cut
   */
  begin(late: () => void, limitMs?: number): Wait
  /** Does nothing once it is over. */
  end(wait: Wait): void
}

/** One of a list. A Set would cost three times as much. */
export interface Wait {
  readonly endsAtMs: number
  readonly late: () => void
  isOver: boolean
  /** Of one that is shorter than usual, which is not in the list. */
  timer: Timer | undefined
  before: Wait | undefined
  behind: Wait | undefined
}

/** @param usualMs how long a wait is for which nothing else is said */
export function createWaits(usualMs: number): Waits {
  let first: Wait | undefined
  let last: Wait | undefined
  let timer: Timer | undefined

  function end(wait: Wait): void {
    if (wait.isOver) return
    wait.isOver = true
    if (wait.timer) {
      clearTimeout(wait.timer)
      return
    }
    const { before, behind } = wait
    if (before) before.behind = behind
    else first = behind
    if (behind) behind.before = before
    else last = before
  }

  function look(): void {
    timer = undefined
    const nowMs = performance.now()
    while (first !== undefined && first.endsAtMs <= nowMs) expire(first)
    if (first === undefined) return
    // Whoever was late may have begun another.
    clearTimeout(timer)
    watch(first.endsAtMs - nowMs)
  }

  function expire(wait: Wait): void {
    end(wait)
    wait.late()
  }

  /** Whatever is waited for keeps the process running; the timer outlasts it. */
  function watch(ms: number): void {
    timer = setTimeout(look, ms)
    timer.unref()
  }

  return {
    begin(late, limitMs = usualMs) {
      const wait: Wait = {
        endsAtMs: performance.now() + usualMs,
        late,
        isOver: false,
        timer: undefined,
        before: undefined,
        behind: undefined,
      }
      if (limitMs < usualMs) {
        wait.timer = setTimeout(expire, Math.max(0, limitMs), wait)
        return wait
      }
      wait.before = last
      if (last) last.behind = wait
      else first = wait
      last = wait
      if (!timer) watch(usualMs)
      return wait
    },
    end,
  }
}
