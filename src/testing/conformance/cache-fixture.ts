import type { Cache, CacheEntry, CacheRule } from '@/core/cache'

/** A row as a store would keep it: with a value that JSON alone would change. */
export interface Row {
  version: number
  name: string
  bytes: Uint8Array
}

export const row = (version: number): CacheEntry<Row> & { value: Row } => ({
  version,
  value: { version, name: `name “${version}”\n`, bytes: Uint8Array.of(0, version & 255, 255) },
})

export const rule = (over: Partial<Pick<CacheRule, 'ttlMs' | 'absentTtlMs' | 'isSecret'>> = {}): CacheRule<Row> => ({
  ttlMs: 60_000,
  absentTtlMs: 10_000,
  isSecret: false,
  pack: ({ bytes, ...rest }) => JSON.stringify({ ...rest, bytes: Buffer.from(bytes).toString('base64') }),
  unpack(text) {
    const { bytes, ...rest } = JSON.parse(text)
    return { ...rest, bytes: new Uint8Array(Buffer.from(bytes, 'base64')) }
  },
  copy: value => ({ ...value, bytes: value.bytes.slice() }),
  ...over,
})

export const newKey = () => `row:${crypto.randomUUID()}`

/** Makes reads that count their loads; what is loaded is what `there` says when the load begins. */
export const readerOf =
  (cache: () => Cache) =>
  (key: string, there: () => CacheEntry<Row>, kept: CacheRule<Row> = rule()) => {
    const loads = { count: 0 }
    const read = (from = cache()) =>
      from.fetch(
        key,
        async () => {
          loads.count++
          return there()
        },
        kept,
      )
    return { loads, read }
  }

/** A load that holds what was there when it began until it is let go. */
export function slowLoad(entry: CacheEntry<Row>) {
  const began = gate()
  const goOn = gate()
  const load = async () => {
    began.open()
    await goOn.passed
    return entry
  }
  return { load, began: began.passed, end: goOn.open }
}

/** Something that happens once, and those who wait for it. */
export function gate(): { open: () => void; passed: Promise<void> } {
  const { resolve, promise } = Promise.withResolvers<void>()
  return { open: resolve, passed: promise }
}

/** Waits until it is so. */
export async function until(isSo: () => Promise<boolean> | boolean, limitMs = 5000): Promise<void> {
  const deadlineMs = performance.now() + limitMs
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`it was not so within ${limitMs} ms`)
    await Bun.sleep(5)
  }
}
