import { expect, test } from 'bun:test'
import { botScene, said } from '@/testing/chat/bot-scene'

const gone = (id: string) => ({ platform: 'telegram', id, chatId: '17' }) as const

test('that a chat does not want the bot acts once, however often it is told', async () => {
  await using bot = await botScene()
  await bot.biz.receiver.left([gone('u1')])
  await bot.biz.receiver.left([gone('u1'), gone('u1')])
  expect(bot.gone).toHaveLength(1)
  await bot.biz.receiver.left([gone('u2')])
  // What was learned otherwise has no name.
  for (const each of [1, 2]) await bot.biz.receiver.left([{ platform: 'telegram', chatId: `${each}` }])
  expect(bot.gone).toHaveLength(4)
  expect(await bot.say(said('echo', 'hello', { chatId: '17' }))).toEqual(['hello'])
})

test('what could not be acted upon acts when it is told again', async () => {
  await using bot = await botScene()
  const push = bot.gone.push
  bot.gone.push = () => {
    throw new Error('away')
  }
  await expect(bot.biz.receiver.left([gone('u1')])).rejects.toThrow('away')
  bot.gone.push = push
  for (const _ of [1, 2]) await bot.biz.receiver.left([gone('u1')])
  expect(bot.gone).toHaveLength(1)
})
