import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { answering, type Reading, told } from './updates'

const reading: Reading = { bot: { id: 7, username: 'Our_Bot' }, hasCommand: name => name === 'ping' }
const update = (message: object) => ({
  update_id: 1,
  message: { message_id: 2, chat: { id: 5, type: 'private' }, from: { id: 5, is_bot: false, first_name: 'Ada' }, ...message },
})
const said = (text: string, message: object = {}) => told(update({ text, ...message }), reading).incoming
const inGroup = { chat: { id: -5, type: 'supergroup' } }

describe('what is said', () => {
  test('is a command when it begins with a slash and a name, whatever its letters', () => {
    const cases: [string, string | undefined, string][] = [
      ['/ping', 'ping', ''],
      ['/PING  a  b ', 'ping', 'a  b'],
      ['/ping@our_bot x', 'ping', 'x'],
      ['/user\nada', 'user', 'ada'],
      ['/unknown', 'unknown', ''],
      ['hello /ping', undefined, 'hello /ping'],
      ['/', undefined, '/'],
      ['/ping!', undefined, '/ping!'],
      [`/${'a'.repeat(33)}`, undefined, `/${'a'.repeat(33)}`],
    ]
    for (const [text, command, input] of cases) {
      const incoming = said(text)
      expect([text, incoming?.command, incoming?.input]).toEqual([text, command, input])
    }
  })

  test('in a group is for us when it names us, or is a command of ours that names nobody', () => {
    const cases: [string, boolean][] = [
      ['/ping', true],
      ['/unknown@our_bot', true],
      ['/unknown', false],
      ['/ping@other_bot', false],
      ['hello', false],
      ['@our_bot hello', false],
    ]
    for (const [text, isForUs] of cases) expect([text, said(text, inGroup) !== undefined]).toEqual([text, isForUs])
    expect(said('/ping@other_bot')).toBeUndefined()
  })

  test('by bots, by nobody, in channels and without meaning is dropped', () => {
    expect(said('/ping', { from: { id: 1, is_bot: true, first_name: 'B' } })).toBeUndefined()
    expect(said('/ping', { from: undefined })).toBeUndefined()
    expect(said('/ping', { chat: { id: -5, type: 'channel' } })).toBeUndefined()
    expect(told(update({ pinned_message: {} }), reading)).toEqual({})
    expect(told(update({ sticker: {} }), reading).incoming).toMatchObject({ command: undefined, input: '' })
  })

  test('is kept within limits, with nothing in it that is not seen', () => {
    const name = { from: { id: 5, is_bot: false, first_name: 'A\u0000\u202eda\n', last_name: '😀'.repeat(100) } }
    const incoming = said(`/ping a\u0000b\u202e\tc\r\n\ud800${'😀'.repeat(4000)}`, name)
    expect(incoming?.senderName).toBe(`Ada ${'😀'.repeat(48)}`)
    expect(incoming?.input).toStartWith('ab c\n�😀')
    expect(String(incoming?.input).length).toBeLessThanOrEqual(4096)
    expect(String(incoming?.input).isWellFormed()).toBe(true)
  })

  test('is answered in the topic where it was said', () => {
    const reply = said('/ping', { ...inGroup, is_topic_message: true, message_thread_id: 9 })?.replyTo ?? ''
    expect(answering(reply)).toEqual({ reply_parameters: { message_id: 2, allow_sending_without_reply: true }, message_thread_id: 9 })
    expect(answering(said('/ping')?.replyTo ?? 'none')).toEqual({})
  })
})

test('whatever comes is dropped or fits, and never throws', () => {
  let understood = 0
  const shaped = fc.record(
    {
      update_id: fc.oneof(fc.integer(), fc.anything()),
      message: fc.record(
        {
          message_id: fc.oneof(fc.integer(), fc.anything()),
          chat: fc.record({ id: fc.oneof(fc.integer(), fc.double()), type: fc.oneof(fc.constantFrom('private', 'group'), fc.string()) }),
          from: fc.record({ id: fc.integer(), is_bot: fc.oneof(fc.boolean(), fc.anything()), first_name: fc.string({ unit: 'binary' }) }),
          text: fc.oneof(fc.string({ unit: 'binary' }), fc.constant('/ping '), fc.anything()),
        },
        { requiredKeys: [] },
      ),
      my_chat_member: fc.anything(),
    },
    { requiredKeys: [] },
  )
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary' }).map(each => `/ping ${each}`),
  )
  const sound = fc
    .record({ text, name: fc.string({ unit: 'binary' }) })
    .map(({ text, name }) => update({ text, from: { id: 1, is_bot: false, first_name: name } }))
  fc.assert(
    fc.property(fc.oneof(shaped, sound, fc.anything()), each => {
      const { incoming } = told(each, reading)
      if (!incoming) return
      understood++
      const { id, chatId, senderId, input, replyTo, senderName } = incoming
      for (const text of [id, chatId, senderId]) expect(text).toMatch(/^-?\d{1,64}$/)
      expect(String(input).length).toBeLessThanOrEqual(4096)
      expect([String(input).isWellFormed(), senderName.isWellFormed(), senderName.length <= 100, replyTo.length <= 1024]).toEqual([
        true,
        true,
        true,
        true,
      ])
    }),
    { numRuns: 500 },
  )
  expect(understood).toBeGreaterThan(10)
}, 60_000)
