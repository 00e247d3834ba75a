/** Text that somebody else has written, without what a terminal would obey. */
export const printable = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/g, one => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
