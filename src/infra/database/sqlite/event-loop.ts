/** How long calls may follow each other before timers, sockets and everybody else have their turn. */
const turnMaxMs = 20

/**
 * SQLite answers at once, so whoever asks again and again never waits for anything: timers do not fire meanwhile, deadlines do not
 * end, requests are not answered.
 * @returns asked with the time before each call: what it is to wait for first, or undefined while this turn of the event loop is young
 */
export function eventLoopTurns(): (nowMs: number) => Promise<void> | undefined {
  let beganMs = 0
  let next: Promise<void> | undefined
  return nowMs => {
    if (next) return nowMs - beganMs > turnMaxMs ? next : undefined
    beganMs = nowMs
    next = new Promise(resolve =>
      setImmediate(() => {
        next = undefined
        resolve()
      }),
    )
    return undefined
  }
}
