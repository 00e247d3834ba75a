import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Config } from '@/core/config/settings'
import type { Mail } from '@/core/mailer'
import { temporaryFolder } from '@/testing/bingo'
import { freePort } from '@/testing/servers'
import { parseMail, startMailServer } from '@/testing/smtp'
import { openMailer } from './open'

const from = 'bingo <no-reply@example.com>'
const welcome: Mail = { to: 'ada@example.com', subject: 'Welcome, Ada', text: 'Hello\nAda', key: 'task-1' }
const mysql = { url: 'mysql://nobody@127.0.0.1:1/none' } as Config['database']
const sqlite = (folder: string) => ({ url: `sqlite:${folder}/bingo.db` }) as Config['database']
const toServer = (url: string) => openMailer({ mail: { url, from }, database: mysql })

describe('through a server', () => {
  test('a message arrives as it was meant, from whom it says, and over one connection for several', async () => {
    const server = await startMailServer()
    const mailer = toServer(server.url)
    await mailer.send(welcome)
    await mailer.send({ ...welcome, subject: 'Grüße 🎉', text: `grüße ${'long '.repeat(50)}\n.\n..dots\n`, key: 'task-2' })
    expect(server.received.map(({ from: sender, to }) => [sender, to])).toEqual([
      ['no-reply@example.com', ['ada@example.com']],
      ['no-reply@example.com', ['ada@example.com']],
    ])
    const [first, second] = server.received.map(({ source }) => parseMail(source))
    expect(Object.fromEntries(first?.headers ?? [])).toMatchObject({
      from: [from],
      to: ['ada@example.com'],
      subject: ['Welcome, Ada'],
      'auto-submitted': ['auto-generated'],
      'mime-version': ['1.0'],
    })
    expect(first?.body).toBe('Hello\r\nAda\r\n')
    expect(second?.headers.get('subject')?.[0]).toMatch(/^=\?UTF-8\?/)
    expect(second?.body).toContain('\r\n.\r\n..dots')
    expect(server.connections()).toBe(1)
    await mailer.close()
    await server.close()
  })

  test('a second attempt at a message has the id of the first, and another message another', async () => {
    const server = await startMailServer()
    const mailer = toServer(server.url)
    for (const key of ['task-1', 'task-1', 'x>\r\nBcc: eve@example.com']) await mailer.send({ ...welcome, key })
    const ids = server.received.map(({ source }) => parseMail(source).headers.get('message-id')?.[0])
    expect(ids[0]).toMatch(/^<[\w-]{22}@example\.com>$/)
    expect(ids[1]).toBe(ids[0])
    expect(ids[2]).toMatch(/^<[\w-]{22}@example\.com>$/)
    expect(ids[2]).not.toBe(ids[0])
    await mailer.close()
    await server.close()
  })

  test('what is no recipient, subject or text is refused, and nothing is sent', async () => {
    const server = await startMailServer()
    const mailer = toServer(server.url)
    const bad: [Partial<Mail>, string][] = [
      [{ to: 'ada@example.com, eve@example.com' }, 'to'],
      [{ to: 'ada@example.com\r\nBcc: eve@example.com' }, 'to'],
      [{ to: 'ada@example.com\n' }, 'to'],
      [{ to: 'Ada <ada@example.com>' }, 'to'],
      [{ to: '"a b"@example.com' }, 'to'],
      [{ to: '' }, 'to'],
      [{ to: `a@${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(63)}.${'e'.repeat(63)}` }, 'to'],
      [{ subject: 'Welcome\r\nBcc: eve@example.com' }, 'subject'],
      [{ subject: 'Welcome\nBcc: eve@example.com' }, 'subject'],
      [{ subject: 'a\u0000b' }, 'subject'],
      [{ subject: 'a\u2028b' }, 'subject'],
      [{ subject: '' }, 'subject'],
      [{ subject: '\ud800' }, 'subject'],
      [{ text: '' }, 'text'],
      [{ text: 'a\u0000' }, 'text'],
      [{ text: 'x'.repeat(100_001) }, 'text'],
      [{ key: '' }, 'key'],
    ]
    for (const [over, pointer] of bad) {
      const failed = { code: 'InvalidArgument.MailInvalid', problems: [{ pointer }] }
      await expect(mailer.send({ ...welcome, ...over })).rejects.toMatchObject(failed)
    }
    expect(server.received).toEqual([])
    await mailer.close()
    await server.close()
  })

  test('whatever stands in a message, it has the headers and the one recipient that it was given', async () => {
    const server = await startMailServer()
    const mailer = toServer(server.url)
    const tricky = fc.constantFrom(
      '\r\n',
      '\n',
      '\r',
      '.',
      '\r\n.\r\n',
      'Bcc: eve@example.com',
      ': ',
      'RCPT TO:<eve@example.com>',
      '\t',
      ' ',
      '=?UTF-8?Q?=0A?=',
      'é',
      '🎉',
      '<',
      '>',
      ',',
    )
    const words = fc.array(fc.oneof(tricky, fc.string({ unit: 'grapheme' })), { maxLength: 12 }).map(parts => parts.join(''))
    const plain = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}$/)
    const mostly = (odd: fc.Arbitrary<string>) => fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: odd })
    await fc.assert(
      fc.asyncProperty(mostly(words), mostly(words), mostly(words), async (subject, text, name) => {
        const before = server.received.length
        const sent = await mailer.send({ to: `${name}@example.com`, subject, text, key: 'k' }).then(
          () => true,
          thrown => (thrown as { code: string }).code !== 'InvalidArgument.MailInvalid',
        )
        const [mail, ...more] = server.received.slice(before)
        expect([more.length, mail !== undefined]).toEqual([0, sent])
        if (!mail) return
        // A local part that begins with a dot or the like is quoted, and means the same.
        expect(mail.to.map(unquoted)).toEqual([`${name}@example.com`])
        const { headers } = parseMail(mail.source)
        const known = [
          'auto-submitted',
          'content-transfer-encoding',
          'content-type',
          'date',
          'from',
          'message-id',
          'mime-version',
          'subject',
          'to',
        ]
        expect([...headers.keys()].filter(header => !known.includes(header))).toEqual([])
        expect([...headers.values()].every(values => values.length === 1)).toBe(true)
        expect(headers.get('to')?.map(unquoted)).toEqual([`${name}@example.com`])
      }),
      { numRuns: 400 },
    )
    expect(server.received.length).toBeGreaterThan(50)
    await mailer.close()
    await server.close()
  }, 30_000)

  test('a recipient that the server does not know is refused for good, one it does not know now may be tried again; no address is told', async () => {
    const server = await startMailServer({ refuse: address => (address.startsWith('never') ? 550 : 450) })
    const mailer = toServer(server.url)
    for (const [to, code] of [
      ['never@example.com', 'FailedPrecondition.MailRefused'],
      ['later@example.com', 'Unavailable.MailUnavailable'],
    ] as const) {
      const failed = await mailer.send({ ...welcome, to }).catch(thrown => thrown)
      expect(failed.code).toBe(code)
      expect(failed.cause.message).toMatch(/^SMTP EENVELOPE [45]50 5\.1\.1$/)
      expect(Bun.inspect(failed)).not.toContain(to)
    }
    await mailer.close()
    await server.close()
  })

  test('a server that is not there, a wrong password, and a certificate that nobody vouches for may be mended', async () => {
    const self = selfSigned()
    const servers = [
      await startMailServer({ login: ['bingo', 'right'] }),
      await startMailServer({ tls: self }),
      await startMailServer({ tls: { ...self, isSecure: true } }),
    ]
    const urls = [`smtp://127.0.0.1:${freePort()}`, ...servers.map(({ url }) => url.replace('right', 'wrong'))]
    for (const url of urls) {
      const mailer = toServer(url)
      const failed = await mailer.send(welcome).catch(thrown => thrown)
      expect([url, failed.code]).toEqual([url, 'Unavailable.MailUnavailable'])
      expect(Bun.inspect(failed)).not.toContain('wrong')
      await mailer.close()
    }
    expect(servers.flatMap(({ received }) => received)).toEqual([])
    await Promise.all(servers.map(server => server.close()))
  })

  test('with the user and password of its URL, which may hold anything', async () => {
    const login: [string, string] = ['bingo@example.com', 'p@ss:/#?ü']
    const server = await startMailServer({ login })
    const mailer = toServer(server.url)
    await mailer.send(welcome)
    expect(server.received.map(({ user }) => user)).toEqual([login[0]])
    await mailer.close()
    await server.close()
  })

  test('the connection is encrypted where the server can, and where it must be', async () => {
    using folder = temporaryFolder()
    const self = selfSigned()
    writeFileSync(join(folder.path, 'ca.pem'), self.cert)
    for (const isSecure of [false, true]) {
      const server = await startMailServer({ tls: { ...self, isSecure } })
      // Whom to trust is read when a process starts.
      const program = `import { openMailer } from '@/infra/mail/open'
        const mailer = openMailer({ mail: { url: '${server.url.replace('127.0.0.1', 'localhost')}', from: 'a@example.com' }, database: { url: 'mysql:' } })
        await mailer.send(${JSON.stringify(welcome)})
        await mailer.close()`
      const child = Bun.spawn([process.execPath, '-e', program], {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: join(folder.path, 'ca.pem') },
        stderr: 'inherit',
      })
      expect(await child.exited).toBe(0)
      expect(server.received.map(({ isEncrypted }) => isEncrypted)).toEqual([true])
      await server.close()
    }
  })
})

const unquoted = (address: string) => address.replaceAll(/["<>]/g, '')

/** A certificate for localhost that no authority knows. */
function selfSigned(): { key: string; cert: string } {
  using folder = temporaryFolder()
  const path = (name: string) => join(folder.path, name)
  const made = Bun.spawnSync([
    ...'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost'.split(
      ' ',
    ),
    ...['-keyout', path('key'), '-out', path('cert')],
  ])
  if (made.exitCode !== 0) throw new Error(`openssl: ${made.stderr}`)
  return { key: readFileSync(path('key'), 'utf8'), cert: readFileSync(path('cert'), 'utf8') }
}

describe('into a folder beside the database, where there is no server', () => {
  test('a message is a file that mail programs open, which nobody else may read, and a second attempt takes its place', async () => {
    using folder = temporaryFolder()
    const mailer = openMailer({ mail: { from }, database: sqlite(folder.path) })
    await mailer.send(welcome)
    await mailer.send({ ...welcome, text: 'Hello again' })
    await mailer.send({ ...welcome, key: '../../escape' })
    const files = readdirSync(join(folder.path, 'mail'))
    expect(files).toHaveLength(2)
    for (const file of files) expect(file).toMatch(/^[\w-]{22}\.eml$/)
    const sources = files.map(file => readFileSync(join(folder.path, 'mail', file), 'utf8'))
    expect(sources.map(source => parseMail(source).headers.get('to'))).toEqual([['ada@example.com'], ['ada@example.com']])
    expect(sources.filter(source => source.includes('Hello again\r\n'))).toHaveLength(1)
    for (const file of files) expect(statSync(join(folder.path, 'mail', file)).mode & 0o777).toBe(0o600)
    await mailer.close()
  })
  test('one that cannot be written leaves nothing behind, and may be tried again', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'mail'), 'in the way')
    const mailer = openMailer({ mail: { from }, database: sqlite(folder.path) })
    await expect(mailer.send(welcome)).rejects.toMatchObject({ code: 'Unavailable.MailUnavailable' })
    expect(readdirSync(folder.path)).toEqual(['mail'])
  })
  test('not when there is a server', async () => {
    using folder = temporaryFolder()
    const server = await startMailServer()
    const mailer = openMailer({ mail: { url: server.url, from }, database: sqlite(folder.path) })
    await mailer.send(welcome)
    expect(server.received).toHaveLength(1)
    expect(existsSync(join(folder.path, 'mail'))).toBe(false)
    await mailer.close()
    await server.close()
  })
})
