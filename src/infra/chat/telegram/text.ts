/** Telegram takes messages of so many characters, counted as UTF-16 units. */
export const messageMax = 4096

/**
 * A text as the one message that it is sent as: of several one could be lost, and the others come twice. What does not fit is cut, and never
 * inside a character. @returns undefined when there is nothing to see in it, which Telegram takes for no message
 */
export function messageOf(text: string): string | undefined {
  const whole = text.toWellFormed()
  if (whole.trim() === '') return undefined
  if (whole.length <= messageMax) return whole
  const end = messageMax - 1
  const isInside = (whole.codePointAt(end - 1) as number) > 0xffff
  return `${whole.slice(0, isInside ? end - 1 : end)}…`
}
