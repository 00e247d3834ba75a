/** Whether there is somebody who can be asked. */
export const isSomebodyThere = (): boolean => process.stdin.isTTY === true

/** Asks whoever is at the terminal. No answer is no. */
export async function saysYes(question: string): Promise<boolean> {
  process.stderr.write(`${question} [y/N] `)
  for await (const line of console) return /^y(es)?$/i.test(line.trim())
  return false
}
