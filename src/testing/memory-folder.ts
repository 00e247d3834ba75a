import { chmodSync, mkdtempSync, readFileSync, statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'

/** Where Linux keeps files in memory. */
const memory = '/dev/shm'
/** Files of all tests at a time are less than half of this. */
const bytesMin = 6 * 1024 ** 3

/**
 * A folder for what tests write, which need not outlive them, so that none waits for a disk: a database writes each commit through to it.
 * @returns undefined where there is no memory for it, or where nothing in it may be executed
 */
export function memoryFolder(): { path: string; [Symbol.dispose](): void } | undefined {
  if (!isMemoryFree()) return undefined
  const path = mkdtempSync(join(memory, 'bingo-tests-'))
  // As in any folder for temporary files: a server that works as another user gets at what is its own in there.
  chmodSync(path, 0o711)
  // However this process ends, its end of the pipe closes, and nothing stays in memory.
  const watcher = Bun.spawn(['sh', '-c', 'cat >/dev/null; sleep 1; rm -rf "$1"', 'watcher', path], {
    ...{ stdin: 'pipe', stdout: 'ignore', stderr: 'ignore' },
  })
  return { path, [Symbol.dispose]: () => void watcher.stdin.end() }
}

/** Whether there is memory for files of tests, in a place where they may be executed, too. */
export function isMemoryFree(): boolean {
  try {
    const [, , type, options = ''] =
      readFileSync('/proc/mounts', 'utf8')
        .split('\n')
        .map(line => line.split(' '))
        .find(([, path]) => path === memory) ?? []
    const { bavail, bsize } = statfsSync(memory)
    return type === 'tmpfs' && !options.split(',').includes('noexec') && Math.min(bavail * bsize, freemem()) >= bytesMin
  } catch {
    return false
  }
}
