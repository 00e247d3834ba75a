import { dirname, join } from 'node:path'
import { currentCaller } from '@/core/caller'
import type { Config } from '@/core/config/settings'
import type { Mailer } from '@/core/mailer'
import { sqlitePath } from '../database/open'
import { fileMailer } from './files'
import { checkMail } from './message'
import type { smtpMailer } from './nodemailer'

export interface OpenMailer extends Mailer {
  /** Whether the next server would let it in; of a folder nothing is asked. @throws MailUnavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

/** The mailer that `mail.url` names; without one, a folder beside the database of SQLite. Connects when there is something to send. */
export function openMailer({ mail, database }: Pick<Config, 'mail' | 'database'>): OpenMailer {
  const { url, from } = mail
  let smtp: Promise<ReturnType<typeof smtpMailer>> | undefined
  // Loaded when used: most processes send nothing.
  const toServer = async (server: string) => (smtp ??= import('./nodemailer').then(({ smtpMailer }) => smtpMailer(server, from)))
  const files = fileMailer(mailFolder({ database }), from)
  return {
    async send(message) {
      checkMail(message)
      await currentCaller()?.once?.beforeOutside()
      const mailer = url === undefined ? files : await toServer(url)
      await mailer.send(message)
    },
    async ping() {
      if (url !== undefined) await (await toServer(url)).ping()
    },
    async close() {
      ;(await smtp)?.close()
    },
  }
}

/** Where messages are written that no server is configured for. */
export const mailFolder = (config: Pick<Config, 'database'>): string => join(dirname(sqlitePath(config)), 'mail')
