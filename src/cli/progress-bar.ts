/** How far long work has come, on stderr and only for people: programs, and whoever keeps stderr in a file, see nothing of it. */
export interface ProgressBar {
  /** @param done of `total`, in its unit. @param text what is said beside it */
  show(done: number, text: string): void
  /** Takes the bar away, so that what is said next stands alone. */
  end(): void
}

const width = 30
/** Drawn at most so often. */
const pauseMs = 100

/** @param total undefined when nobody knows it: then only the text is shown */
export function progressBar(total: number | undefined, out: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr): ProgressBar {
  let drawnAtMs = Number.NEGATIVE_INFINITY
  return {
    show(done, text) {
      if (!out.isTTY || performance.now() - drawnAtMs < pauseMs) return
      drawnAtMs = performance.now()
      out.write(`\r${total ? `${bar(Math.min(1, done / total))} ` : ''}${text}\u001b[K`)
    },
    end() {
      if (out.isTTY && drawnAtMs > Number.NEGATIVE_INFINITY) out.write('\r\u001b[K')
    },
  }
}

function bar(share: number): string {
  const full = Math.round(share * width)
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ${String(Math.floor(share * 100)).padStart(3)} %`
}
