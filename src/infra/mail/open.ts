import { dirname, join } from 'node:path'
import type { Config } from '@/core/config/settings'
import { exitCodes, StartError } from '@/core/error'
import type { Mailer } from '@/core/mailer'
import { isEmbedded, sqlitePath } from '../database/open'
import { fileMailer } from './files'
import { checkMail } from './message'

export interface OpenMailer extends Mailer {
  close(): Promise<void>
}

/**
 * The mailer that `mail.url` names; on SQLite without one, a folder beside the database. Connects when there is something to send.
 * @throws StartError with exit code 78 on MySQL without a server
 */
export function openMailer({ mail, database }: Pick<Config, 'mail' | 'database'>): OpenMailer {
  if (mail.url === undefined && !isEmbedded({ database }))
    throw new StartError(
      'mail.url is not set, and with MySQL messages need a server; set BINGO_MAIL_URL or BINGO_MAIL_URL_FILE to smtp://user:password@host:587',
      exitCodes.configuration,
    )
  const { url, from } = mail
  let smtp: Promise<Mailer & { close(): void }> | undefined
  // Loaded when used: most processes send nothing.
  const toServer = async (server: string) => (smtp ??= import('./nodemailer').then(({ smtpMailer }) => smtpMailer(server, from)))
  const files = fileMailer(join(dirname(sqlitePath({ database })), 'mail'), from)
  return {
    async send(message) {
      checkMail(message)
      const mailer = url === undefined ? files : await toServer(url)
      await mailer.send(message)
    },
    async close() {
      ;(await smtp)?.close()
    },
  }
}
