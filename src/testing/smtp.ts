import { SMTPServer } from 'smtp-server'

/** A real mail server on loopback that keeps what it is sent. */
export interface TestMailServer {
  /** For `BINGO_MAIL_URL`. */
  url: string
  port: number
  received: ReceivedMail[]
  /** How many connections there have been. */
  connections(): number
  close(): Promise<void>
}

export interface ReceivedMail {
  from: string
  to: string[]
  /** As it came, header and body. */
  source: string
  isEncrypted: boolean
  user: string | undefined
}

export interface MailServerRules {
  /** What a recipient is refused with: `550`. */
  refuse?: (address: string) => number | undefined
  /** User and password; nobody has to log in without. */
  login?: [string, string]
  /** Offers STARTTLS, or begins with TLS when `isSecure`. */
  tls?: { key: string; cert: string; isSecure?: boolean }
  /** Waited for before a message that has come is confirmed. */
  confirms?: () => Promise<void>
}

export async function startMailServer({ refuse, login, tls, confirms }: MailServerRules = {}): Promise<TestMailServer> {
  const received: ReceivedMail[] = []
  let connections = 0
  const server = new SMTPServer({
    ...(tls && { key: tls.key, cert: tls.cert }),
    secure: tls?.isSecure ?? false,
    disabledCommands: [...(tls ? [] : ['STARTTLS']), ...(login ? [] : ['AUTH'])],
    authOptional: login === undefined,
    allowInsecureAuth: true,
    logger: false,
    onConnect(_session, done) {
      connections++
      done()
    },
    onAuth({ username, password }, _session, done) {
      if (username === login?.[0] && password === login?.[1]) done(null, { user: username })
      else done(Object.assign(new Error('5.7.8 who are you'), { responseCode: 535 }))
    },
    onRcptTo({ address }, _session, done) {
      const code = refuse?.(address)
      if (code === undefined) done()
      else done(Object.assign(new Error(`5.1.1 ${address} is not known here`), { responseCode: code }))
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        received.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          source: Buffer.concat(chunks).toString(),
          isEncrypted: session.secure,
          user: session.user === undefined ? undefined : String(session.user),
        })
        if (confirms) void confirms().then(() => done())
        else done()
      })
    },
  })
  // Clients that go away, or do not trust us, are no failure of a test.
  server.on('error', () => {})
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  const { port } = server.server.address() as { port: number }
  return {
    url: `${tls?.isSecure ? 'smtps' : 'smtp'}://${login ? `${login.map(encodeURIComponent).join(':')}@` : ''}127.0.0.1:${port}`,
    port,
    received,
    connections: () => connections,
    close: () => new Promise(resolve => server.close(() => resolve())),
  }
}

/** Header fields by their names in small letters, unfolded, and the body. */
export function parseMail(source: string): { headers: Map<string, string[]>; body: string } {
  const end = source.indexOf('\r\n\r\n')
  const headers = new Map<string, string[]>()
  for (const line of source
    .slice(0, end)
    .replaceAll(/\r\n[ \t]+/g, ' ')
    .split('\r\n')) {
    const [, name = '', value = ''] = /^([^:]+): ?(.*)$/.exec(line) ?? []
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value])
  }
  return { headers, body: source.slice(end + 4) }
}
