import { expect, test } from 'bun:test'
import { defineCommand } from '@/core/command'
import { everyone } from '@/core/access'
import { OneOf, Type } from '@/core/schema'
import { digestOf, payloadsOf, propertyOf } from './command-options'

const command = defineCommand({
  name: 'maintenance',
  summary: 'Closes the house, and opens it again.',
  args: Type.Object({
    state: OneOf(['on', 'off'], { description: 'Whether it is closed.' }),
    maxMinutes: Type.Integer({ minimum: 1, maximum: 600 }),
    note: Type.Optional(Type.String({ maxLength: 200, description: 'Why.' })),
  }),
  access: [everyone()],
  run: async () => '',
})

test('arguments are options: with choices and bounds, without capitals', () => {
  expect(payloadsOf([command])).toEqual([
    {
      ...{ type: 1, name: 'maintenance', description: 'Closes the house, and opens it again.', integration_types: [0], contexts: [0, 1] },
      options: [
        {
          ...{ type: 3, name: 'state', description: 'Whether it is closed.', required: true },
          choices: [
            { name: 'on', value: 'on' },
            { name: 'off', value: 'off' },
          ],
        },
        { type: 4, name: 'max_minutes', description: 'maxMinutes', required: true, min_value: 1, max_value: 600 },
        { type: 3, name: 'note', description: 'Why.', required: false, max_length: 200 },
      ],
    },
  ])
  expect(propertyOf(command, 'max_minutes')).toBe('maxMinutes')
  expect(propertyOf(command, 'who_knows')).toBe('who_knows')
})

test('the digest is of what Discord is told, and of the application', () => {
  const payloads = payloadsOf([command])
  expect(digestOf('1', payloads)).toBe(digestOf('1', payloadsOf([command])))
  expect(digestOf('2', payloads)).not.toBe(digestOf('1', payloads))
  expect(digestOf('1', payloadsOf([{ ...command, summary: 'Another.' }]))).not.toBe(digestOf('1', payloads))
  expect(digestOf('1', payloads)).toHaveLength(64)
})
