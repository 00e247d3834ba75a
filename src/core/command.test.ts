import { expect, test } from 'bun:test'
import { adminCalled, userCalled } from '@/testing/identities'
import { admin, everyone, owner, user } from './access'
import { defineCommand, mayGive } from './command'
import { anonymous } from './identity'
import { Input, OneOf, type TSchema, Type } from './schema'

const defined = (args: Record<string, TSchema>) => () =>
  defineCommand({ name: 'do', summary: 'Do it', args: Input(args), access: [everyone()], run: async () => '' })

const text = Type.String()
const choices = (count: number) => OneOf(Array.from({ length: count }, (_, i) => `choice ${i}`) as [string], { description: 'Which.' })
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, text]))

test('arguments that every platform takes are taken', () => {
  expect(defined({ name: text, count: Type.Integer(), which: Type.Optional(choices(25)), rest: Type.Optional(text) })).not.toThrow()
  expect(defined(many(25))).not.toThrow()
  expect(defined({ maxAgeMs: text })).not.toThrow()
})

test('an argument that some platform does not take is refused when it is written, with what to do', () => {
  const faults: [Record<string, TSchema>, string][] = [
    [{ names: Type.Array(text) }, '/do: the argument names is no text, whole number or choice; make it Type.String, Type.Integer or OneOf'],
    [{ on: Type.Boolean() }, 'the argument on is no text'],
    [{ share: Type.Number() }, 'the argument share is no text'],
    [{ which: Type.Union([Type.Literal('a'), Type.Literal('b')]) }, 'make it Type.String, Type.Integer or OneOf'],
    [{ count: Type.Integer({ enum: [1, 2] }) }, 'make it OneOf texts'],
    [{ why: Type.Optional(text), who: text }, 'put the argument who, which must be said, before why, which may be left out'],
    [many(26), 'it has 26 arguments; leave at most 25'],
    [{ which: choices(26) }, 'the argument which has 26 choices; leave at most 25, or make it Type.String'],
    [{ which: OneOf(['', 'a'], { description: 'Which.' }) }, 'has the choice ""'],
    [{ Name: text }, 'call the argument "Name" by a small letter'],
    [{ 'a-b': text }, 'call the argument "a-b"'],
    [{ ['a'.repeat(33)]: text }, 'at most'],
    [{ ['aB'.repeat(11)]: text }, 'at most'],
    [{ maxAge: text, max_age: text }, 'the argument max_age is shown as max_age, as another is'],
  ]
  for (const [args, fault] of faults) expect(defined(args)).toThrow(fault)
})

test('somebody may give what they may, what may be their own, and what needs a younger proof', async () => {
  const all = [
    { name: 'ping', access: [everyone()] },
    { name: 'user', access: [user()] },
    { name: 'own', access: [owner()] },
    { name: 'close', access: [admin('settings:write', { isDangerous: true })] },
  ]
  const names = async (identity: Parameters<typeof mayGive>[0]) => (await mayGive(identity, all)).map(({ name }) => name)
  const root = adminCalled('a', ['*'])
  expect([
    await names(anonymous),
    await names(userCalled('b')),
    await names(adminCalled('a', [])),
    await names({ ...root, provenUntilMs: Date.now() - 1 } as typeof root),
  ]).toEqual([['ping'], ['ping', 'user', 'own'], ['ping'], ['ping', 'close']])
})
