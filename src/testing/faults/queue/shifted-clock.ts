import { Glob } from 'bun'

/**
 * Processes that are made to believe another time, by libfaketime, which takes the place of the C library's clocks. Only of the
 * calendar: the monotonic clock stays as it is, as it does when somebody sets the time of a machine.
 */
const [library] = [...new Glob('/usr/lib/*/faketime/libfaketime.so.1').scanSync({ cwd: '/', absolute: true })]

/** Whether it is on this machine. */
export const canShiftClocks = library !== undefined

/** @returns what a process gets in its environment; nothing for the time as it is */
export function shiftedClock(offsetMs: number): Record<string, string> {
  return offsetMs === 0 ? {} : { ...preload(''), FAKETIME: inSeconds(offsetMs) }
}

/**
 * A clock that jumps while the process runs, as often as `file` says another offset.
 * Redis allocates by jemalloc, which asks for the time while libfaketime is not ready yet; so here it gets the C library's allocator.
 */
export const jumpingClock = (file: string): Record<string, string> => ({
  ...preload(' libc.so.6'),
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: '1',
})

export const inSeconds = (offsetMs: number): string => `${offsetMs < 0 ? '-' : '+'}${Math.abs(offsetMs) / 1000}`

function preload(more: string): Record<string, string> {
  if (library === undefined) throw new Error('libfaketime is not on this machine')
  return { LD_PRELOAD: `${library}${more}`, FAKETIME_DONT_FAKE_MONOTONIC: '1' }
}
