import { expect, test } from 'bun:test'
import { accessErrors, admin, decide, user } from '@/core/access'
import { anonymous } from '@/core/identity'
import { sentBy } from '@/testing/chat/senders'
import { adminCalled } from '@/testing/identities'
import type { ChatLinkBiz, Holder } from './biz'
import { chatLinkCommands } from './commands'
import { refusalIn } from './identity.biz'

function setUp(holder?: Holder) {
  const given: string[] = []
  const biz = {
    async link(code) {
      given.push(code)
      return { kind: 'admin', username: 'grace' }
    },
    unlink: async () => holder?.kind,
    whoIs: async () => holder,
  } as Partial<ChatLinkBiz> as ChatLinkBiz
  const all = chatLinkCommands(biz)
  const say = (name: string, args = {}, isPrivate = true) =>
    all.find(command => command.name === name)?.run(args, sentBy('17', { isPrivate })) ?? Promise.reject()
  return { say, given, all }
}

test('everybody may link, unlink and ask who they are, since nobody is known before', async () => {
  for (const { access } of setUp().all) expect(await decide(anonymous, access, {})).toBeUndefined()
})

test('who sends a code in a private chat is told who they are now; in a group it is taken from nobody', async () => {
  const { say, given } = setUp()
  for (const isPrivate of [true, false]) {
    expect(await say('link', {}, isPrivate)).toContain('/admin/v1/me/chat-links')
    expect(await say('link', {}, isPrivate)).toEndWith('in a private chat.')
  }
  expect(await say('link', { code: 'K7QM-2XHD-PW4C' })).toBe('You are the administrator grace here now. Send /unlink to end it.')
  const inGroup = await say('link', { code: 'K7QM-2XHD-PW4C' }, false)
  expect(inGroup).toContain('in private chats only')
  expect(inGroup).toContain('of no use any more')
  expect(given).toEqual(['K7QM-2XHD-PW4C'])
})

test('who one is is said in private chats only', async () => {
  const ada = setUp({ kind: 'user', username: 'ada' })
  expect(await ada.say('whoami')).toBe('You are the user ada.')
  expect(await ada.say('whoami', {}, false)).toBe('You are linked. Ask me in a private chat to whom.')
  expect(await setUp().say('whoami')).toContain('/api/v1/me/chat-links')
  expect(await setUp().say('whoami', {}, false)).toBe('You are not linked. Ask me in a private chat how to change that.')
  expect(await ada.say('unlink')).toBe('This chat account is not linked any more.')
  expect(await setUp().say('unlink')).toBe('This chat account is not linked to any account.')
})

test('who may not give a command is told what can be done about it in a chat', async () => {
  const refused = async (...[identity, rules]: [Parameters<typeof decide>[0], Parameters<typeof decide>[1]]) => {
    const refusal = await decide(identity, rules, {})
    return refusal ? refusalIn(refusal) : undefined
  }
  const grace = adminCalled('grace', ['settings:write'])
  expect(await refused(anonymous, [user()])).toContain('Link this chat account to yours first')
  const dangerous = [admin('settings:write', { isDangerous: true })]
  expect(await refused({ ...grace, provenUntilMs: 0 }, dangerous)).toContain('get a new code at POST /admin/v1/me/chat-links')
  expect(await refused({ ...grace, permissions: new Set(), lacks: 'secondFactor' }, dangerous)).toContain('second factor')
  expect(await refused(grace, [admin('users:read')])).toBe(accessErrors.Permission().message)
  expect(await refused(grace, dangerous)).toBeUndefined()
})
