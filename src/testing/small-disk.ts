import { writeFileSync } from 'node:fs'
import { temporaryFolder } from './bingo'

/** A folder on a disk of its own where one can be had: making one takes root. @param size as `mount` takes it */
export function smallDisk(size = '1m'): { path: string; isSmall: boolean; [Symbol.dispose](): void } {
  const folder = temporaryFolder()
  const mount = Bun.which('mount')
  const isSmall = mount !== null && Bun.spawnSync([mount, '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder.path]).exitCode === 0
  return {
    path: folder.path,
    isSmall,
    [Symbol.dispose]() {
      if (isSmall) Bun.spawnSync(['umount', '--lazy', folder.path])
      folder[Symbol.dispose]()
    },
  }
}

/** Leaves no page free. */
export function fillDisk(path: string): void {
  for (let bytes = 1024 * 1024; bytes >= 4096; bytes /= 2) {
    try {
      for (;;) writeFileSync(path, new Uint8Array(bytes), { flag: 'a' })
    } catch {
      // Less of it then.
    }
  }
}
