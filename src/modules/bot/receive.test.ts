import { expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { defineCommand } from '@/core/command'
import { Input, Type } from '@/core/schema'
import { botScene, echo, said } from '@/testing/chat/bot-scene'
import { perSenderMax, waitingPerChatMax } from './schema'

/** Keeps what it is told that others have read, and is of no use to whoever says one of that. */
function passwords() {
  const heard: [string, string][] = []
  const command = defineCommand({
    name: 'enter',
    summary: 'Come in',
    args: Input({ password: Type.String({ maxLength: 20 }), also: Type.Optional(Type.String({ maxLength: 20 })) }),
    access: [everyone()],
    run: async ({ password }) => (heard.some(([typed]) => typed.includes(password)) ? 'No.' : 'Come in.'),
    overheard: async (typed, { platform, id }) => void heard.push([typed, `${platform}:${id}`]),
  })
  return { command, heard }
}
const inGroup = { isPrivate: false, chatId: '-100' }

test('a command is told what others have read before anything that comes in later is done, though the group has to wait', async () => {
  const { command, heard } = passwords()
  await using bot = await botScene([command, echo])
  bot.platform.answering = ({ chatId }) => (chatId === inGroup.chatId ? Promise.reject(new Error('not now')) : undefined)
  const busy = Array.from({ length: 5 }, (_, i) => said('echo', String(i), { ...inGroup, senderId: `busy${i}` }))
  expect(await bot.say(...busy)).toEqual([])
  await bot.biz.receiver.receive([said('enter', 'a\u200bbc', { ...inGroup, senderId: 'ada' })])
  expect(heard).toEqual([['abc', 'telegram:ada']])
  expect(await bot.say(said('enter', 'abc', { chatId: 'eve', senderId: 'eve' }))).toEqual(['No.'])
})

test('also what is too much, what does not fit and what was named is told, and nothing that is said in private', async () => {
  const { command, heard } = passwords()
  await using bot = await botScene([command, echo])
  const much = Array.from({ length: waitingPerChatMax }, (_, i) => said('echo', '', { ...inGroup, senderId: `busy${i}` }))
  const own = Array.from({ length: perSenderMax + 1 }, () => said('echo', '', { senderId: 'bob' }))
  await bot.biz.receiver.receive([...much, ...own])
  const options = said('enter', { password: 'one', also: 'two' }, { ...inGroup, platform: 'discord', senderId: 'ada' })
  await bot.biz.receiver.receive([
    said('enter', 'dropped', { ...inGroup, senderId: 'ada' }),
    said('enter', 'silent', { ...inGroup, chatId: '-200', senderId: 'bob' }),
    said('enter', 'x'.repeat(100), { ...inGroup, chatId: '-200', senderId: 'ada' }),
    options,
    said('enter', 'private'),
    said('echo', 'other', { ...inGroup, chatId: '-200' }),
  ])
  expect(heard.map(([typed]) => typed)).toEqual(['dropped', 'silent', 'x'.repeat(100), 'one\ntwo'])
})

test('what could not be told is received again later', async () => {
  const { command } = passwords()
  let isAway = true
  const overheard = async () => {
    if (isAway) throw new Error('away')
  }
  await using bot = await botScene([{ ...command, overheard }])
  const update = said('enter', 'abc', inGroup)
  await expect(bot.biz.receiver.receive([update])).rejects.toThrow('away')
  expect(await bot.states()).toEqual([])
  isAway = false
  expect(await bot.say(update)).toEqual(['Come in.'])
})
