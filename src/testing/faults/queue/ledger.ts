import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/**
 * What handlers did, beside the queue and without its knowledge: a file to which each process appends a line for each step of each
 * attempt. What was written is there, whoever is killed right after it.
 *
 * `begin` and `end` are of the handler, `abort` when its signal did. `told` is the word of the queue on how the attempt ended, once
 * the worker has heard it: an attempt of a process that was killed was in flight as long as there is none.
 */
export interface LedgerEntry {
  step: Step
  id: string
  attempt: number
  pid: number
  /** Milliseconds since 1970 by the clock of the machine, whatever the process was made to believe. */
  atMs: number
  /** Of `abort` the reason, of `told` the status, else nothing. */
  word: string
}

export type Step = 'begin' | 'end' | 'abort' | 'told'

export interface LedgerWriter {
  note(step: Step, id: string, attempt: number, word?: string): void
  close(): void
}

/** @param clockOffsetMs how far the clock of this process is ahead of the machine's */
export function openLedger(path: string, clockOffsetMs: number): LedgerWriter {
  const file = openSync(path, 'a')
  return {
    // One write of one line: lines of several processes do not run into each other.
    note: (step, id, attempt, word = '') =>
      void writeSync(file, `${[step, id, attempt, process.pid, Date.now() - clockOffsetMs, word].join('\t')}\n`),
    close: () => closeSync(file),
  }
}

/** Everything up to now. */
export function readLedger(path: string): LedgerEntry[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  // What follows the last end of a line is nothing, or is being written.
  return lines.slice(0, -1).map(line => {
    const [step = '', id = '', attempt, pid, atMs, word = ''] = line.split('\t')
    return { step: step as Step, id, attempt: Number(attempt), pid: Number(pid), atMs: Number(atMs), word }
  })
}
