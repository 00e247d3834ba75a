import { expect, test } from 'bun:test'
import { topicsDeclared, defineModule } from '@/core/module'
import { StartError } from '@/core/error'
import { sentBy } from '@/testing/chat/senders'
import type { SubscriptionBiz } from './biz'
import { subscriptionCommands } from './commands'
import { subscriptionErrors } from './schema'

function setUp(isEmpty = false) {
  const own = new Set<string>()
  const topics = isEmpty ? [] : [{ name: 'news', summary: 'What is new' }]
  const biz = {
    known(name: string) {
      const topic = topics.find(each => each.name === name)
      if (!topic) throw subscriptionErrors.TopicUnknown()
      return topic
    },
    list: async () => topics.map(topic => ({ ...topic, isSubscribed: own.has(topic.name) })),
    subscribe: async (_, name) => !own.has(name) && own.add(name).size > 0,
    async unsubscribe(_, name) {
      const ended = [...own].filter(each => name === undefined || each === name)
      for (const each of ended) own.delete(each)
      return ended.length
    },
  } as Partial<SubscriptionBiz> as SubscriptionBiz
  const all = subscriptionCommands(biz)
  const say = (name: string, topic?: string, isPrivate = true) =>
    all.find(command => command.name === name)?.run(topic === undefined ? {} : { topic }, sentBy('17', { isPrivate })) ?? Promise.reject()
  return { say }
}

test('what there is to subscribe to is listed, with what the chat has', async () => {
  const { say } = setUp()
  expect(await say('subscribe')).toContain('news: What is new\n')
  await say('subscribe', 'news')
  expect(await say('subscribe')).toContain('news: What is new (subscribed)')
  expect(await setUp(true).say('subscribe')).toBe('There is nothing to subscribe to.')
})

test('a topic is taken however it is typed, and what is none is refused with the remedy', async () => {
  const { say } = setUp()
  await expect(say('subscribe', 'olds')).rejects.toThrow('Send /subscribe')
  expect(await say('subscribe', ' News ')).toBe('You get news from now on: What is new.')
  expect(await say('subscribe', 'news')).toBe('You get news already.')
  expect(await say('subscribe', 'news', false)).toBe('This chat gets news already.')
  expect(await say('unsubscribe', 'olds')).toContain('does not subscribe to that')
  expect(await say('unsubscribe', 'NEWS')).toBe('The subscription to news has ended.')
  expect(await say('unsubscribe')).toBe('This chat subscribes to nothing.')
  await say('subscribe', 'news')
  expect(await say('unsubscribe', 'all')).toBe('All subscriptions of this chat have ended.')
})

test('a topic is declared by one module, under a name that can be typed', () => {
  const module = (name: string, ...topics: { name: string; summary: string }[]) =>
    defineModule({ name, needs: [], topics, create: () => ({ biz: {}, faces: {} }) })
  const topic = (name: string, summary = 'What is new') => ({ name, summary })
  expect(topicsDeclared([module('a', topic('news'), topic('maintenance'))]).map(({ name }) => name)).toEqual(['maintenance', 'news'])
  expect(() => topicsDeclared([module('a', topic('news')), module('b', topic('news'))])).toThrow(
    'the modules a and b both declare the topic news; leave it to one',
  )
  for (const odd of [
    topic('all'),
    topic('News'),
    topic(''),
    topic('a b'),
    topic('a'.repeat(33)),
    topic('news', ''),
    topic('news', 'a'.repeat(101)),
  ])
    expect(() => topicsDeclared([module('a', odd)])).toThrow(StartError)
})
