/**
 * Where log lines go. They are gathered and written together, since a write for each costs a fifth of the throughput. At most
 * `flushMs` of lines are in memory while somebody reads; when nobody does, the oldest are kept up to a limit and newer ones are
 * dropped and counted. A log neither blocks nor fills nor ends the process that writes it.
 */
const flushMs = 50
const batchChars = 32 * 1024
const bufferMaxChars = 8 * 1024 * 1024
/** How long the end of the process waits for its last lines to be read. */
const closeTimeoutMs = 1000

export interface LogSink {
  write(line: string): void
  /** Hands on what is gathered, now. */
  flush(): void
  /** Resolves when all is written, or nobody reads it in time. */
  close(): Promise<void>
}

/** What the sink needs of a stream; `Bun.stdout.writer()` is one. */
export interface LineWriter {
  write(text: string): unknown
  flush(): number | Promise<number>
}

export function createSink(writer: LineWriter): LogSink {
  let gathered = ''
  let dropped = 0
  let isDead = false
  /** There while the reader has not taken what was handed on before. */
  let writing: Promise<void> | undefined

  function write(line: string): void {
    if (isDead) return
    if (gathered.length + line.length > bufferMaxChars) {
      dropped++
      return
    }
    gathered += line
    if (gathered.length >= batchChars) flush()
  }

  function flush(): void {
    if (writing || isDead || (gathered === '' && dropped === 0)) return
    const text =
      dropped === 0 ? gathered : `${gathered}{"level":"warn","msg":"log lines were dropped, since nobody read them","dropped":${dropped}}\n`
    gathered = ''
    dropped = 0
    try {
      writer.write(text)
      const done = writer.flush()
      if (done instanceof Promise) writing = done.then(written, failed)
    } catch (thrown) {
      failed(thrown)
    }
  }

  const written = () => {
    writing = undefined
    if (gathered.length >= batchChars) flush()
  }

  /** Whoever read may be gone for good (EPIPE). Anything else, such as a full disk, may pass: those lines are lost, and counted. */
  const failed = (thrown: unknown) => {
    writing = undefined
    dropped++
    if ((thrown as NodeJS.ErrnoException).code !== 'EPIPE') return
    isDead = true
    gathered = ''
  }

  // Unref: an idle log does not keep a process alive.
  const timer = setInterval(flush, flushMs)
  timer.unref()

  return {
    write,
    flush,
    async close() {
      clearInterval(timer)
      const deadline = performance.now() + closeTimeoutMs
      while (!isDead && (writing || gathered) && performance.now() < deadline) {
        flush()
        await Promise.race([writing, Bun.sleep(deadline - performance.now())])
      }
    },
  }
}
