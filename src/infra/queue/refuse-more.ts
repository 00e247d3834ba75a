/** Of a driver, to whoever asks for more in one call than it does at a time. @throws Error for what no caller of ours does */
export function refuseMore(count: number, most: number): void {
  if (count > most) throw new Error(`at most ${most} at a time, not ${count}`)
}
