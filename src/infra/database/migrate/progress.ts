/** What a migration says while it runs, so that a long one is seen to live. */
export type MigrationProgress =
  /** Another process migrates. */
  | { isWaiting: true; seconds: number }
  /** `seconds` is 0 when the statement begins. SQLite runs a statement inside the call, so there it is not heard of again. */
  | { isWaiting: false; id: string; direction: Direction; statement: number; of: number; seconds: number }
export type Direction = 'up' | 'down'

export interface MigrateOptions {
  progress?: (event: MigrationProgress) => void
  /** Calls `tick` again and again, until what it returns is called. Real time when absent. */
  every?: (ms: number, tick: () => void) => () => void
  /** How long to wait for another process that migrates, on servers. 60 when absent. */
  lockWaitSeconds?: number
}

/** How often a statement that is still running is said again, and a lock that is still waited for. */
const againSeconds = 5

/** Runs `work` and says every few seconds for how long it has been running. */
export async function watched<T>({ every = realTime }: MigrateOptions, say: (seconds: number) => void, work: () => Promise<T>): Promise<T> {
  let ticks = 0
  const stop = every(againSeconds * 1000, () => say(++ticks * againSeconds))
  try {
    return await work()
  } finally {
    stop()
  }
}

function realTime(ms: number, tick: () => void): () => void {
  const timer = setInterval(tick, ms)
  return () => clearInterval(timer)
}

/** As a line for people. */
export function progressLine(event: MigrationProgress): string {
  if (event.isWaiting) return `another process is migrating; waiting for ${event.seconds} s`
  const { id, direction, statement, of, seconds } = event
  const what = `${direction === 'up' ? 'applying' : 'undoing'} ${id}: statement ${statement} of ${of}`
  return seconds > 0 ? `${what} is still running after ${seconds} s` : what
}
