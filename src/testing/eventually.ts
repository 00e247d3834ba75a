/** For what no signal says: looks again and again until it is so. @throws Error after `timeoutMs`, which says what was looked for */
export async function eventually(isSo: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`it did not come to this within ${timeoutMs} ms: ${isSo}`)
    await Bun.sleep(5)
  }
}
