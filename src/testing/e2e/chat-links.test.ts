import { expect, test } from 'bun:test'
import { onEachBacking } from '../backings'
import { startBingo } from '../bingo'
import { newAdministrator, newUser } from '../clients'
import { until } from '../conformance/cache-fixture'
import { type FakeTelegram, startTelegram } from '../chat/fake-telegram'

interface LinkCode extends Record<string, unknown> {
  code: string
  command: string
}
interface Items extends Record<string, unknown> {
  items: Record<string, unknown>[]
}

const speaker = (id: number) => ({ id, is_bot: false, first_name: 'Ada' })

/** What a sender is told, said after said. */
function chatOf(telegram: FakeTelegram, from: number, chat = from) {
  return async (text: string): Promise<string> => {
    const before = telegram.sentTo(chat).length
    telegram.say(text, { from, chat, name: 'Ada' })
    await telegram.until(() => telegram.sentTo(chat).length > before, 20_000)
    return telegram.sentTo(chat).at(-1) ?? ''
  }
}

onEachBacking('chat accounts and the executable', open => {
  test('people link their chat accounts, are who they are in a chat for as long as the link is there, and subscribe', async () => {
    const backing = await open()
    const telegram = await startTelegram()
    const env = { ...backing.options.env, BINGO_TELEGRAM_TOKEN: telegram.token, BINGO_TELEGRAM_API_ROOT: telegram.url }
    const bingo = await startBingo({ ...backing.options, env, roles: 'api,admin,bot' })
    try {
      const [api, admin] = [`${bingo.urls['api']}/api/v1`, `${bingo.urls['admin']}/admin/v1`]
      const ada = await newUser(bingo.urls['api'] ?? '')
      const grace = await newAdministrator(bingo.urls['admin'] ?? '', env)
      const [ofAda, ofGrace, ofEve, ofMallory, inGroup] = [
        chatOf(telegram, 17),
        chatOf(telegram, 18),
        chatOf(telegram, 19),
        chatOf(telegram, 20),
        chatOf(telegram, 17, -100),
      ]

      // A code is for whoever knows the password, and is shown to nobody else.
      const post = (currentPassword: string) => ada.send<LinkCode>('POST', `${api}/me/chat-links`, { currentPassword })
      expect((await post('a guess')).body['code']).toBe('Unprocessable.PasswordWrong')
      const made = await post(ada.password)
      expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store'])
      expect(await ofAda('/whoami')).toContain('I do not know whose account')
      expect(await ofAda(made.body.command)).toContain(`the user ${ada.user.username}`)
      expect(await ofAda('/whoami')).toBe(`You are the user ${ada.user.username}.`)
      expect(await inGroup('/whoami')).not.toContain(ada.user.username)
      expect(await ofEve(made.body.command)).toContain('not valid')
      expect(await ofEve('/whoami')).toContain('I do not know whose account')

      const proven = await grace.send<LinkCode>('POST', `${admin}/me/chat-links`)
      expect(proven.status).toBe(201)
      expect(await ofGrace(`/link ${proven.body.code.toLowerCase().replaceAll('-', ' ')}`)).toContain(`the administrator ${grace.username}`)
      const { items: links } = (await grace.send<Items>('GET', `${admin}/me/chat-links`)).body
      expect(links).toMatchObject([{ platform: 'telegram', senderId: '18', senderName: 'Ada' }])
      const { items: events } = (await grace.send<Items>('GET', `${admin}/audit-events?object=chat-link:telegram:18`)).body
      expect(events).toMatchObject([{ action: 'chat-link.create', actorName: grace.username, address: 'telegram:18' }])

      // What is sent where others read it is good for nobody.
      const read = await grace.send<LinkCode>('POST', `${admin}/me/chat-links`)
      expect(await inGroup(read.body.command)).toContain('in private chats only')
      expect(await ofMallory(read.body.command)).toContain('not valid')
      expect(await ofMallory('/whoami')).toContain('I do not know whose account')
      expect(await ofGrace('/whoami')).toContain(`the administrator ${grace.username}`)

      // Nobody guesses for long: the first wrong ones cost nothing, and then there are pauses, which a slow machine may have waited for.
      const guesses: string[] = []
      while (guesses.length < 20 && !guesses.at(-1)?.includes('Too many tries')) guesses.push(await ofEve('/link AAAA-AAAA-AAAA'))
      expect(guesses.length).toBeGreaterThan(3)
      expect(guesses.at(-1)).toContain('Too many tries')

      // The link ends where it is removed, and with the sessions.
      expect((await grace.send('DELETE', `${admin}/me/chat-links/${links[0]?.['id']}`)).status).toBe(204)
      expect(await ofGrace('/whoami')).toContain('I do not know whose account')
      expect((await grace.send('POST', `${admin}/users/${ada.user.id}/suspend`)).status).toBe(200)
      expect((await grace.send('POST', `${admin}/users/${ada.user.id}/restore`)).status).toBe(200)
      expect(await ofAda('/whoami')).toContain('I do not know whose account')

      const total = async () => (await grace.send<Items>('GET', `${admin}/subscriptions?topic=maintenance`)).body.items[0]?.['total']
      expect(await ofAda('/subscribe')).toContain('maintenance: ')
      expect(await ofAda('/subscribe Maintenance')).toContain('You get maintenance from now on')
      expect(await inGroup('/subscribe maintenance')).toContain('This chat gets maintenance from now on')
      expect(await total()).toBe(2)
      expect(await ofAda('/subscribe nothing')).toContain('There is no such topic')
      // The group becomes a supergroup, and goes on to get what it wanted.
      telegram.tell({ message: { message_id: 900_000, chat: { id: -100, type: 'group' }, migrate_to_chat_id: -1001, from: speaker(17) } })
      const inSupergroup = chatOf(telegram, 17, -1001)
      await until(async () => (await inSupergroup('/subscribe')).includes('(subscribed)'), 20_000)
      expect(await total()).toBe(2)
      expect(await inSupergroup('/unsubscribe all')).toContain('All subscriptions of this chat have ended')
      telegram.block(17)
      await until(async () => (await total()) === 0, 20_000)

      for (const { code } of [made.body, proven.body]) expect(JSON.stringify(bingo.log)).not.toContain(code)
      expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
    } finally {
      expect(await bingo.stop()).toBe(0)
      await telegram.close()
      await backing.dispose()
    }
  }, 120_000)
})
