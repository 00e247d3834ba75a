import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Mailer, mailErrors } from '@/core/mailer'
import { shortDigest } from '../digest'

/**
 * Writes messages into a folder instead of sending them, for whoever runs bingo without a mail server. Each is there whole or not
 * at all, and a second attempt at one takes the place of the first.
 */
export function fileMailer(folder: string, from: string): Mailer {
  return {
    async send(mail) {
      const { bytesOf } = await import('./nodemailer')
      const bytes = await bytesOf(mail, from)
      const path = join(folder, `${shortDigest(mail.key)}.eml`)
      const own = `${path}.${crypto.randomUUID()}`
      try {
        // Nobody else's business, whatever the umask.
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const file = await open(own, 'wx', 0o600)
        try {
          await file.writeFile(bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(own, path)
      } catch (thrown) {
        await rm(own, { force: true }).catch(() => {})
        throw mailErrors.MailUnavailable({ cause: thrown })
      }
    },
  }
}
