import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { Glob } from 'bun'
import { leaves } from '@/core/config/leaf'
import { settings } from '@/core/config/settings'
import { kinds } from '@/core/error'
import { executable, type RunningBingo, startBingo, temporaryFolder } from './bingo'
import { newServiceKey } from './clients'
import { blocksOf, checkTypes, copyOfSources, root, rowsUnder, sentencesUnder, shell, testTitles } from './guides'
import { rawClient } from './rpc/raw-client'
import { declaredMethods } from './rpc/fixtures'
import { freePort } from './servers'

const guide = 'docs/rpc.md'
const bare = (cell = '') => cell.replaceAll('`', '')
const blocks = await blocksOf(guide)
const titled = (title: string) => blocks.find(block => block.title === title)?.text ?? ''
const [makeKey = '', makeCertificates = '', startEncrypted = '', generate = ''] = blocks
  .filter(({ language }) => language === 'sh')
  .map(({ text }) => text)

test('what the guide to gRPC promises is tested', async () => {
  const sentences = await sentencesUnder(guide, 'What is promised')
  expect(sentences.length).toBeGreaterThan(8)
  const titles = await testTitles(guide)
  expect(sentences.filter(sentence => !titles(sentence))).toEqual([])
})

test('the guide to gRPC names each kind of error, each method with its rules, each setting with its default, and each metric', async () => {
  const errors = (await rowsUnder(guide, 'Errors')).map(([code, http, said]) => [bare(code), http, bare(said)])
  const byCode = Map.groupBy(Object.entries(kinds), ([, { grpc }]) => grpc)
  expect(errors).toEqual(
    [...byCode.keys()]
      .toSorted((a, b) => a - b)
      .map(code => {
        const found = byCode.get(code) ?? []
        return [
          `${status[code]} (${code})`,
          [...new Set(found.map(([, { http }]) => http))].join(', '),
          found.map(([kind]) => kind).join(', '),
        ]
      }),
  )
  const methods = (await rowsUnder(guide, 'Who may call')).filter(([name = '']) => name.includes('/'))
  expect(methods.map(([name, who]) => [bare(name), bare(who)])).toEqual(
    (await declaredMethods()).map(({ name, access }) => [name, access.join(', ')]),
  )
  const own = leaves(settings).filter(({ key }) => key.startsWith('rpc.'))
  const said = (await rowsUnder(guide, 'Operating')).filter(([key = '']) => key.startsWith('`rpc.'))
  expect(said.map(([key, , value]) => [bare(key), bare(value)])).toEqual(
    own.map(({ key, schema }) => [key, schema.default === undefined ? '' : [schema.default].flat().join(',') || 'none']),
  )
  const all = ['infra/rpc', 'modules/user'].flatMap(within => [...new Glob(`src/${within}/**/*.ts`).scanSync(root)])
  const sources = all.filter(path => !path.endsWith('.test.ts'))
  const texts = await Promise.all(sources.map(path => Bun.file(join(root, path)).text()))
  const made = texts.flatMap(text => [...text.matchAll(/name: '((?:bingo_|rpc_)[a-z_]+)'/g)].map(([, name = '']) => name))
  expect((await rowsUnder(guide, 'What can be seen')).map(([name]) => bare(name)).toSorted()).toEqual([...new Set(made)].toSorted())
})

const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
let bingo: RunningBingo
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin', env })
  // As in the repository: Node.js finds its packages, and what is on the wire.
  symlinkSync(join(root, 'node_modules'), join(folder.path, 'node_modules'))
  symlinkSync(join(root, 'src'), join(folder.path, 'src'))
}, 60_000)
afterAll(async () => {
  await bingo.stop()
  folder[Symbol.dispose]()
})

async function run(text: string, rpc: string): Promise<string> {
  const here = text
    .replaceAll('localhost:8080', new URL(bingo.urls['api'] ?? '').host)
    .replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host)
    .replaceAll('localhost:50051', rpc)
  const { stdout, stderr, code } = await shell(`bingo() { ${executable} "$@"; }\n${here}`, folder.path, env)
  expect([here, code, stderr]).toEqual([here, 0, expect.any(String)])
  return stdout
}

const runFile = (name: string, rpc: string) => run(`cat > ${name} <<'END'\n${titled(name)}END\nnode ${name}`, rpc)

test('a client of another make calls as the guide to gRPC says, and is answered so', async () => {
  expect(await run(makeKey, bingo.rpc)).toContain('{"id":"')
  expect(await runFile('call.mjs', bingo.rpc)).toBe(blocks.find(({ language }) => language === 'text')?.text ?? '')
  const { scripts } = await Bun.file(join(root, 'package.json')).json()
  for (const [, script = ''] of (await Bun.file(join(root, guide)).text()).matchAll(/^bun run (\S+)$/gm))
    expect([script, script in scripts]).toEqual([script, true])
}, 60_000)

test('a service shows a certificate as the guide to gRPC says, and without one nobody is let in', async () => {
  await run(makeCertificates, '')
  const files = Object.fromEntries([...startEncrypted.matchAll(/(BINGO_\w+)=(\S+)/g)].map(([, name, file]) => [name, file]))
  expect(Object.keys(files)).toHaveLength(3)
  const args = [...startEncrypted.matchAll(/ (--rpc\S+)/g)].map(([, flag = '']) => flag)
  const encrypted = await startBingo({ roles: 'api', args, env: { ...env, ...files }, cwd: folder.path })
  const address = encrypted.rpc.replace('127.0.0.1', 'localhost')
  expect(await runFile('certified.mjs', address)).toBe('ada\n')
  const rpc = rawClient(encrypted.rpc)
  expect((await rpc.raw('/bingo.user.v1.UserService/GetUser', new Uint8Array(), { deadlineMs: 3000 })).code).not.toBe(0)
  rpc.close()
  expect(await encrypted.stop()).toBe(0)
}, 60_000)

/** Adds a module to those of a role, as somebody does who reads the guide. */
async function addTo(file: string, module: string): Promise<void> {
  const text = await Bun.file(file).text()
  const changed = text.replace(/modules: \[/, `modules: [${module}, `).replace(/^/, `import { ${module} } from '@/modules/${module}'\n`)
  await Bun.write(file, changed)
}

test('following the guide to gRPC gives a service that is generated, served, called by another module, and answers', async () => {
  using copy = temporaryFolder()
  copyOfSources(copy.path)
  for (const { title, text } of blocks.filter(({ title }) => title.startsWith('src/'))) {
    mkdirSync(dirname(join(copy.path, title)), { recursive: true })
    writeFileSync(join(copy.path, title), text)
  }
  await addTo(join(copy.path, 'roles/api.ts'), 'greeting')
  await addTo(join(copy.path, 'roles/bot.ts'), 'hello')
  expect(await shell(generate, copy.path)).toMatchObject({ code: 0 })
  expect(await checkTypes(copy.path)).toMatchObject({ code: 0, stdout: '' })
  // Imports stand in the order in which they were added; nothing else is to be said of what is written there.
  const linted = await shell('bunx biome check --error-on-warnings src/modules/greeting src/modules/hello', copy.path)
  expect([linted.code, linted.stdout + linted.stderr]).toEqual([0, expect.any(String)])
  expect(await shell('bun test src/modules/hello src/architecture.test.ts', copy.path)).toMatchObject({ code: 0 })
  // Whoever forgets the fixture is told so.
  const forgotten = await shell('bun test src/testing/command-access.test.ts -t "there is a fixture"', copy.path)
  expect([forgotten.code, forgotten.stderr]).toEqual([1, expect.stringContaining('hello')])

  const port = freePort()
  const url = `sqlite:${copy.path}/bingo.db`
  const flags = ['--http.port=0', '--ops.port=0', `--rpc.port=${port}`, '--log.format=json']
  const child = Bun.spawn(['bun', 'src/main.ts', '--role=api', ...flags], {
    ...{ cwd: copy.path, env: { ...process.env, BINGO_DATABASE_URL: url }, stdout: 'pipe', stderr: 'ignore' },
  })
  for await (const chunk of child.stdout) if (Buffer.from(chunk).toString().includes('"msg":"ready"')) break
  const { headers } = await newServiceKey({ url })
  const rpc = rawClient(`127.0.0.1:${port}`)
  const greet = (name: string) =>
    rpc.raw('/bingo.greeting.v1.GreetingService/Greet', Buffer.from(name === '' ? '' : `\n${String.fromCharCode(name.length)}${name}`), {
      metadata: headers,
    })
  expect((await greet('Ada')).messages.map(message => message.toString())).toEqual(['\n\nHello Ada.'])
  expect((await greet('')).error?.code).toBe('InvalidArgument.NameMissing')
  rpc.close()
  child.kill('SIGTERM')
  expect(await child.exited).toBe(0)
}, 300_000)
