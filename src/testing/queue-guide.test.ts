import { expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Glob } from 'bun'
import { onEachBacking } from './backings'
import { temporaryFolder } from './bingo'
import { type Block, blocksOf, checkTypes, copyOfSources, root, shell } from './guides'

const guide = 'docs/queue.md'

/** The guide to the queue as a program: its declarations, then its other snippets one after another, then a worker. */
function programOf(blocks: readonly Block[]): string {
  const declarations = blocks.filter(({ title }) => ['schema.ts', 'index.ts'].includes(title)).map(({ text }) => text)
  const steps = blocks.filter(({ title }) => !title).map(({ text }) => text)
  expect(declarations).toHaveLength(2)
  expect(steps.length).toBeGreaterThan(2)
  return `import { expect, test } from 'bun:test'
import { giveUp, snooze } from '@/core/queue/task'
import { createStore } from '@/core/store'
import { defineTable } from '@/core/table'
import { openGuideProcess } from '@/testing/queue-guide'
${declarations.join('\n').replace(`import { shipOrder } from './schema'\n`, '')}
const orders = defineTable('shopOrder', { title: Type.String() })
test('the guide to the queue', async () => {
  const { db, queue, admin, work, close } = await openGuideProcess([shipOrder], [orders])
  const orderId = crypto.randomUUID()
  const shipped: string[] = []
  using server = Bun.serve({ port: 0, fetch: request => (shipped.push(new URL(request.url).pathname), new Response()) })
  const carrier = server.url.href.slice(0, -1)
  expect(order.tasks).toEqual([shipOrder])
${steps.join('\n')}
  await work([ship])
  // What was delayed still waits; each of the others was handed to the handler.
  expect((await admin.stats('default')).scheduled).toBe(3)
  const placed = await createStore(db, orders).find({})
  const expected = [placed?.id, ...Array.from({ length: 3 }, () => orderId)].map(id => \`/parcels/\${id}\`)
  expect(shipped.toSorted()).toEqual(expected.toSorted())
  await close()
})
`
}

onEachBacking('the guide to the queue', (open, name) => {
  test('does what it says, and its types are right', async () => {
    using folder = temporaryFolder()
    copyOfSources(folder.path)
    const blocks = (await blocksOf(guide)).filter(({ language }) => language === 'ts')
    writeFileSync(join(folder.path, 'src/guide.test.ts'), programOf(blocks))
    const backing = await open()
    const [types, run] = await Promise.all([
      // The same on every database.
      name === 'sqlite' ? checkTypes(folder.path) : { code: 0, stdout: '' },
      shell('bun test --timeout 30000 src/guide.test.ts', folder.path, backing.options.env ?? {}),
    ])
    expect([types.code, types.stdout]).toEqual([0, ''])
    expect([run.code, run.stderr]).toEqual([0, expect.stringContaining('1 pass')])
    await backing.dispose()
  }, 60_000)
})

test('the tests that the guide shows pass', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  const module = join(folder.path, 'src/modules/order')
  mkdirSync(module)
  const files = (await blocksOf(guide)).filter(({ language, title }) => language === 'ts' && /^[^/]+\.ts$/.test(title))
  const tests = files.filter(({ title }) => title.endsWith('.test.ts'))
  expect(tests.length).toBeGreaterThan(1)
  for (const { title, text } of files) writeFileSync(join(module, title), text)
  const [types, run] = await Promise.all([checkTypes(folder.path), shell('bun test src/modules/order', folder.path)])
  expect([types.code, types.stdout]).toEqual([0, ''])
  expect([run.code, run.stderr]).toEqual([0, expect.stringContaining(`across ${tests.length} files`)])
}, 60_000)

test('what the guide shows of other files stands there', async () => {
  const elsewhere = (await blocksOf(guide)).filter(({ title }) => title.includes('/'))
  expect(elsewhere.length).toBeGreaterThan(0)
  for (const { title, text } of elsewhere) expect(await Bun.file(join(root, title)).text()).toContain(text.trim())
})

test('each sentence that the guide promises is the name of a test', async () => {
  const text = await Bun.file(join(root, guide)).text()
  const promised = /## What is promised\n([\s\S]*?)\n## /.exec(text)?.[1] ?? ''
  const sentences = [...promised.matchAll(/^- (.+)\.$/gm)].map(match => match[1] as string)
  expect(sentences.length).toBeGreaterThan(10)
  const tests = await Promise.all([...new Glob('src/testing/**/*.ts').scanSync(root)].map(path => Bun.file(join(root, path)).text()))
  const titles = tests.filter(source => !source.includes("const guide = 'docs/queue.md'")).join('\n')
  expect(
    sentences.filter(sentence => !new RegExp(`['"\`]${sentence.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}['"\`]`).test(titles)),
  ).toEqual([])
})
