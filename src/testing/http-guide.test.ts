import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { leaves } from '@/core/config/leaf'
import { settings } from '@/core/config/settings'

const guide = await Bun.file(join(import.meta.dir, '../../docs/http.md')).text()

test('the guide to HTTP says of each setting the default that it has, and none that is not there', () => {
  const known = new Map(leaves(settings).map(({ key, schema }) => [key, schema.default as unknown]))
  const rows = guide.split('\n').flatMap(line => {
    const [, first = '', second = '', third = ''] = line.split('|').map(cell => cell.trim())
    const name = /^`(\w+\.\w+)`$/.exec(first) ?? /^`(\w+\.\w+)`$/.exec(second)
    return name ? [{ key: name[1] as string, said: first.startsWith('`') ? line.split('|').at(-2)?.trim() : third }] : []
  })
  expect(rows.length).toBeGreaterThan(10)
  expect(rows).toEqual(rows.map(({ key }) => ({ key, said: String(known.get(key)) })))
  for (const [, key = ''] of guide.matchAll(/`((?:http|limit|database|cache|queue|password|shutdown)\.\w+)`/g))
    expect(known.has(key)).toBe(true)
})
