import { expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onEachBacking } from './backings'
import { temporaryFolder } from './bingo'
import { blocksOf, checkTypes, copyOfSources, shell } from './guides'

/** The guide to the store as a program: its declarations, then its other snippets one after another. */
async function programOf(path: string): Promise<string> {
  const blocks = (await blocksOf(path)).filter(({ language }) => language === 'ts')
  const [declarations, steps] = [blocks.filter(({ title }) => title === 'schema.ts'), blocks.filter(({ title }) => !title)]
  expect(declarations.length + steps.length).toBe(blocks.length)
  expect(steps.length).toBeGreaterThan(10)
  return `import { expect, test } from 'bun:test'
import { openGuideDatabase } from '@/testing/conformance/fixture'
${declarations.map(({ text }) => text).join('\n')}
test('the guide to the store', async () => {
  const db = await openGuideDatabase(process.env['GUIDE_DATABASE_URL'] as string, [products, reviews])
  const lampValues = { sku: 'L-1', title: 'Lamp', price: '19.90', stock: 3, status: 'sold' as const }
${steps.map(({ text }) => text).join('\n')}
  await db.close()
})
`
}

onEachBacking('the guide to the store', (open, name) => {
  test('does what it says, and its types are right', async () => {
    using folder = temporaryFolder()
    copyOfSources(folder.path)
    writeFileSync(join(folder.path, 'src/guide.test.ts'), await programOf('docs/store.md'))
    const backing = await open()
    const env = { GUIDE_DATABASE_URL: backing.url }
    const [types, run] = await Promise.all([
      // The same on every database.
      name === 'sqlite' ? checkTypes(folder.path) : { code: 0, stdout: '' },
      shell('bun test --timeout 20000 src/guide.test.ts', folder.path, env),
    ])
    expect([types.code, types.stdout]).toEqual([0, ''])
    expect([run.code, run.stderr]).toEqual([0, expect.stringContaining('1 pass')])
    await backing.dispose()
  }, 60_000)
})
