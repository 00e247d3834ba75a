import { expect, test } from 'bun:test'
import { ownWritesMs } from '@/core/caller'
import { createProgress, laterWrite } from './position'
import { memoryWritePositions } from './write-positions'

const a = '3e11fa47-71ca-11e1-9e33-c80aa9429562'
const b = '5f1802c8-e66b-11f1-8879-02fc00000001'

test('a server that has a position has those before it of the same source, and none of another', () => {
  const progress = createProgress()
  progress.learn(`${a}:23`)
  const has = [`${a}:1`, `${a}:23`, `${a}:24`, `${b}:1`, `${a}:22,${b}:1`, `${a}:reports:1`, `${a}:5-23`, `${a}:5-24`].map(progress.has)
  expect(has).toEqual([true, true, false, false, false, false, true, false])
  progress.learn(`${a}:7`)
  expect(progress.has(`${a}:23`)).toBe(true)
  progress.forget()
  expect(progress.has(`${a}:1`)).toBe(false)
})

test('on MariaDB a source is a domain, whichever server wrote', () => {
  const progress = createProgress()
  progress.learn('0-1-100,1-1-5')
  const has = ['0-2-100', '0-1-101', '1-7-5', '2-1-1'].map(progress.has)
  expect(has).toEqual([true, false, true, false])
})

test('two writes are both there where the later of each source is', () => {
  const later = (one: string | undefined, other: string | undefined) =>
    laterWrite({ position: one, atMs: 1 }, { position: other, atMs: 2 }).position
  expect(later(`${a}:5`, `${a}:7`)).toBe(`${a}:7`)
  // Answers may arrive in the other order.
  expect(later(`${a}:7`, `${a}:5`)).toBe(`${a}:7`)
  expect(later(`${a}:7`, `${b}:1`)).toBe(`${a}:7,${b}:1`)
  expect(later('0-1-9,1-1-1', '0-2-10')).toBe('0-2-10,1-1-1')
  expect(later(undefined, `${a}:5`)).toBe(`${a}:5`)
  expect(later(`${a}:5`, undefined)).toBeUndefined()
})

test('an actor is remembered for 10 s, with the later of two writes', async () => {
  let now = 0
  const positions = memoryWritePositions({ nowMs: () => now })
  await positions.note('ada', { position: `${a}:7`, atMs: 0 })
  now = 1000
  await positions.note('ada', { position: `${a}:5`, atMs: 1000 })
  expect(await positions.of('ada')).toEqual({ position: `${a}:7`, atMs: 1000 })
  expect(await positions.of('bob')).toBeUndefined()
  now = 999 + ownWritesMs
  expect(await positions.of('ada')).toBeDefined()
  now = 1000 + ownWritesMs
  expect(await positions.of('ada')).toBeUndefined()
})

test('of more than 10,000 actors those who wrote last are remembered', async () => {
  const positions = memoryWritePositions({ nowMs: () => 0 })
  const written = { position: `${a}:1`, atMs: 0 }
  for (let i = 0; i < 10_000; i++) await positions.note(`actor ${i}`, written)
  await positions.note('actor 0', written)
  await positions.note('one more', written)
  expect(await positions.of('actor 1')).toBeUndefined()
  expect(await positions.of('actor 0')).toEqual(written)
  expect(await positions.of('one more')).toEqual(written)
})
