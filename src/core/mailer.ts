import { defineErrors } from './error'

/** Messages to people. Sent from tasks, which are tried again: so a message may come twice, and says by its key that it is one. */
export interface Mailer {
  /**
   * Resolves when the next server has taken it.
   * @throws MailInvalid for what is no message, MailRefused when trying again cannot help, MailUnavailable when it may
   */
  send(mail: Mail): Promise<void>
}

export interface Mail {
  /** One address, without a name. */
  to: string
  /** One line of 1–200 characters. */
  subject: string
  /** 1–100,000 characters, in lines. */
  text: string
  /**
   * The same for each attempt at the same message, such as the id of the task that sends it: mailboxes then show it once.
   * 1–128 characters.
   */
  key: string
}

export const mailErrors = defineErrors({
  MailInvalid: ['InvalidArgument', 'This is no message that can be sent.'],
  MailRefused: ['FailedPrecondition', 'The mail server does not take this message.'],
  MailUnavailable: ['Unavailable', 'The mail server cannot be reached, or takes nothing now.'],
})
