import { chromium } from 'playwright-core'

/** Chromium, as it is on this machine. Close it. */
export const openBrowser = () =>
  chromium.launch({
    executablePath: chromiumPath(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

function chromiumPath(): string {
  const found = Bun.which('chromium') ?? Bun.which('google-chrome')
  if (!found) throw new Error('Chromium is not on this machine; on Debian: apt-get install chromium')
  return found
}
