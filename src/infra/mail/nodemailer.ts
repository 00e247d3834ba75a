import { createTransport } from 'nodemailer'
import { type Mail, type Mailer, mailErrors } from '@/core/mailer'
import { shortDigest } from '../digest'
import { parseFrom } from './message'

/** All that knows the library: messages as bytes, and SMTP. */
const connectionsMax = 4
const connectTimeoutMs = 10_000
const silenceMaxMs = 30_000
const idleMs = 30_000
const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** What the library is given. Addresses as objects, so that nothing in them is read as a second one. */
function messageOf({ to, subject, text, key }: Mail, from: string) {
  const sender = parseFrom(from)
  const domain = sender.address.slice(sender.address.lastIndexOf('@') + 1)
  return {
    from: sender,
    to: { name: '', address: to },
    subject,
    text,
    messageId: `<${shortDigest(key)}@${domain}>`,
    // Nobody's absence note is wanted (RFC 3834).
    headers: { 'Auto-Submitted': 'auto-generated' },
    xMailer: false as const,
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

/** The message as a file of it would be, with the line ends of RFC 5322. */
export async function bytesOf(mail: Mail, from: string): Promise<Uint8Array> {
  const composer = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const { message } = await composer.sendMail(messageOf(mail, from))
  return message as Buffer
}

/**
 * Sends through a server, over connections that are kept for a while. `smtp://` uses STARTTLS wherever the server offers it, and
 * insists on it before a password goes out, unless the server is on this machine; `smtps://` is TLS from the start.
 */
export function smtpMailer(url: string, from: string): Mailer & { ping(): Promise<void>; close(): void } {
  const { protocol, hostname, port, username, password } = new URL(url)
  const secure = protocol === 'smtps:'
  const transport = createTransport({
    pool: true,
    maxConnections: connectionsMax,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || (secure ? 465 : 587),
    secure,
    requireTLS: username !== '' && !loopback.test(hostname),
    ...(username && { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    dnsTimeout: connectTimeoutMs,
    socketTimeout: silenceMaxMs,
    idleTimeout: idleMs,
  })
  return {
    async send(mail) {
      try {
        await transport.sendMail(messageOf(mail, from))
      } catch (thrown) {
        throw isRefused(thrown) ? mailErrors.MailRefused({ cause: said(thrown) }) : mailErrors.MailUnavailable({ cause: said(thrown) })
      }
    },
    async ping() {
      try {
        await transport.verify()
      } catch (thrown) {
        throw mailErrors.MailUnavailable({ cause: said(thrown) })
      }
    },
    close: () => transport.close(),
  }
}

interface SmtpFailure {
  code?: string
  responseCode?: number
  response?: string
  message?: string
}

/** A permanent answer (RFC 5321 §4.2.1) about this message or its recipient; one about our password may be mended. */
function isRefused(thrown: unknown): boolean {
  const { code, responseCode = 0 } = thrown as SmtpFailure
  return responseCode >= 500 && (code === 'EENVELOPE' || code === 'EMESSAGE')
}

/** What the server said, by its codes (RFC 3463): its words name the recipient, and errors end up in logs. */
function said(thrown: unknown): Error {
  const { code, responseCode, response = '' } = thrown as SmtpFailure
  const status = /\b[245]\.\d{1,3}\.\d{1,3}\b/.exec(response)?.[0]
  const text = ['SMTP', code, responseCode, status].filter(part => part !== undefined).join(' ')
  return Object.assign(new Error(text), { code })
}
