import { expect, test } from 'bun:test'
import { admin, owner, user } from '@/core/access'
import { type CommandContext, defineCommand } from '@/core/command'
import { Input, OneOf, Type } from '@/core/schema'
import { botScene, said } from '@/testing/chat/bot-scene'
import { adminCalled, userCalled } from '@/testing/identities'

const text = Type.String({ minLength: 1, maxLength: 100, description: 'A text.' })

/** Commands that keep what they were called with. */
function keeping() {
  const calls: { name: string; args: unknown; context: CommandContext }[] = []
  const keep = (name: string) => async (args: unknown, context: CommandContext) => {
    calls.push({ name, args, context })
    return 'done'
  }
  const commands = [
    defineCommand({
      ...{ name: 'close', summary: 'Close it', access: [admin('doors:write', { isDangerous: true })], run: keep('close') },
      args: Input({ state: OneOf(['on', 'off'], { description: 'Which.' }), message: Type.Optional(text) }),
    }),
    defineCommand({
      ...{ name: 'look', summary: 'Look somebody up', access: [owner(), admin('users:read')], run: keep('look') },
      args: Input({ id: text }),
      params: ({ id }) => ({ id }),
    }),
    defineCommand({
      ...{ name: 'take', summary: 'Take some', access: [user()], run: keep('take') },
      args: Input({ count: Type.Integer({ minimum: 1, maximum: 9, description: 'How many.' }), what: Type.Optional(text) }),
    }),
  ]
  return { commands, calls }
}

test('who nobody knows, and who may not, is refused before anything else is looked at, with a line of the log', async () => {
  const { commands, calls } = keeping()
  await using bot = await botScene(commands)
  bot.accounts.set('ada', userCalled('ada'))
  const [stranger, wrongKind, unreadable] = await bot.say(
    said('close', 'on'),
    said('close', 'on', { senderId: 'ada' }),
    said('close', 'what is this', { senderId: 'ada' }),
  )
  expect(stranger).toStartWith('Link this chat account to yours first')
  expect([wrongKind, unreadable]).toEqual(Array(2).fill('This is not for callers of your kind.'))
  expect(calls).toEqual([])
  const denials = bot.queue.log.lines.filter(({ message }) => message === 'access denied')
  expect(denials.map(({ level, fields }) => [level, fields['server'], fields['command'], fields['actor'], fields['address']])).toEqual([
    ['warn', 'bot', 'close', undefined, 'telegram:sender1'],
    ['warn', 'bot', 'close', 'user:ada', 'telegram:ada'],
    ['warn', 'bot', 'close', 'user:ada', 'telegram:ada'],
  ])
  expect(bot.audit.events).toEqual([])
})

test('an administrator who may not is refused and written down; one whose proof is old is told how to renew it', async () => {
  const { commands, calls } = keeping()
  await using bot = await botScene(commands)
  bot.accounts.set('eve', adminCalled('eve', ['users:read']))
  bot.accounts.set('old', { ...adminCalled('old', ['doors:write']), provenUntilMs: 0 })
  const [refused, old, help] = await bot.say(
    said('close', 'on', { senderId: 'eve' }),
    said('close', 'on', { senderId: 'old' }),
    said('nothing', '', { senderId: 'old' }),
  )
  expect(refused).toBe('You do not have the permission that this needs.')
  expect(old).toContain('not old')
  expect(help).toContain('/close on|off [message] – Close it')
  expect(calls).toEqual([])
  expect(bot.audit.events).toMatchObject([
    { actor: 'admin:eve', actorName: 'eve', address: 'telegram:eve', action: 'access.refused', object: '/close', outcome: 'refused' },
    { actor: 'admin:old', reason: 'Unauthenticated.Proof' },
  ])
})

test('a user may do to their own what only they may; what is another’s is refused', async () => {
  const { commands, calls } = keeping()
  await using bot = await botScene(commands)
  bot.accounts.set('ada', userCalled('ada'))
  const own = { senderId: 'ada' }
  expect(await bot.say(said('look', 'ada', own), said('look', 'bob', own), said('look', '', own))).toEqual([
    'done',
    'This belongs to somebody else.',
    'I cannot read that: id is missing.\nUsage: /look <id>',
  ])
  expect(calls).toHaveLength(1)
  bot.accounts.set('root', adminCalled('root', ['users:read']))
  expect(await bot.say(said('look', 'bob', { senderId: 'root' }))).toEqual(['done'])
})

test('a command knows who asks, from where, and is given what its schema says', async () => {
  const { commands, calls } = keeping()
  await using bot = await botScene(commands)
  bot.accounts.set('root', adminCalled('root'))
  bot.accounts.set('ada', userCalled('ada'))
  await bot.say(
    said('close', '  On   until\n tea ', { senderId: 'root', isPrivate: false }),
    said('close', { state: 'off' }, { senderId: 'root' }),
    said('take', '3', { senderId: 'ada' }),
    said('take', { count: 4, what: ' all\u0000 of\u202e it ' }, { senderId: 'ada', senderName: 'A\u0000da' }),
  )
  expect(calls.map(({ args }) => args)).toEqual([
    { state: 'on', message: 'until\n tea' },
    { state: 'off' },
    { count: 3 },
    { count: 4, what: 'all of it' },
  ])
  const [first, , , last] = calls.map(({ context }) => context)
  expect(first).toMatchObject({
    asking: { identity: { kind: 'admin', id: 'root' }, address: 'telegram:root' },
    chat: { platform: 'telegram', id: 'chat1', isPrivate: false },
    sender: { id: 'root', name: 'Ada' },
  })
  expect(last?.sender.name).toBe('Ada')
})

test('what does not fit is answered with how it is used', async () => {
  const { commands, calls } = keeping()
  await using bot = await botScene(commands)
  bot.accounts.set('root', adminCalled('root'))
  bot.accounts.set('ada', userCalled('ada'))
  const answers = await bot.say(
    ...['', 'maybe'].map(input => said('close', input, { senderId: 'root' })),
    ...['', 'ten', '99', '1.5', { other: 1 }, { count: '3', __proto__: 'x' }].map(input =>
      said('take', input as string, { senderId: 'ada' }),
    ),
  )
  expect(answers.slice(0, 2)).toEqual([
    'I cannot read that: state is missing.\nUsage: /close on|off [message]',
    'I cannot read that: state: Expected one of on, off.\nUsage: /close on|off [message]',
  ])
  for (const answer of answers.slice(2, 7)) expect(answer).toEndWith('Usage: /take <count> [what]')
  expect(calls).toHaveLength(1)
})
