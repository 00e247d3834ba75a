import { expect, test } from 'bun:test'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Glob } from 'bun'
import { temporaryFolder } from './bingo'
import { newUser } from './clients'
import { until } from './conformance/cache-fixture'
import { blocksOf, copyOfSources, root, shell } from './guides'
import { send } from './http-client'
import { freePort } from './servers'

/** Starts from source as the documents say, on free ports, and waits until it is ready. */
async function start(folder: string) {
  const [port, adminPort] = [freePort(), freePort()]
  const env = {
    ...process.env,
    BINGO_HTTP_PORT: String(port),
    BINGO_RPC_PORT: '0',
    BINGO_ADMIN_PORT: String(adminPort),
    BINGO_BOT_PORT: '0',
    BINGO_OPS_PORT: '0',
    BINGO_LOG_FORMAT: 'json',
  }
  const child = Bun.spawn(['bun', 'run', 'start'], { cwd: folder, env, stdout: 'pipe', stderr: 'pipe' })
  let log = ''
  for await (const chunk of child.stdout) {
    log += Buffer.from(chunk).toString()
    if (log.includes('"msg":"ready"')) break
  }
  return { port, adminPort, child }
}

const onPort = (commands: string, port: number, of = 8080) => commands.replaceAll(`localhost:${of}`, `127.0.0.1:${port}`)

test('following the guide to a module gives a module that passes the checks and answers as the guide says', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  const blocks = await blocksOf('docs/add-a-module.md')
  const files = blocks.filter(({ language, title }) => language === 'ts' && title)
  expect(files).toHaveLength(13)
  for (const { title, text } of files.filter(({ title }) => !title.startsWith('src/migrations/'))) {
    mkdirSync(dirname(join(folder.path, title)), { recursive: true })
    writeFileSync(join(folder.path, title), text)
  }
  const [make, , requests, again] = blocks.filter(({ language }) => language === 'sh')
  expect(await shell(make?.text ?? '', folder.path)).toMatchObject({ code: 0 })
  for (const { title, text } of files) expect([title, await Bun.file(join(folder.path, title)).text()]).toEqual([title, text])
  const check = await shell('bun run check', folder.path)
  expect([check.code, check.stdout, check.stderr]).toEqual([0, expect.any(String), expect.any(String)])
  expect(await shell('bun test src/app.test.ts src/modules/note', folder.path)).toMatchObject({ code: 0 })

  // Whoever forgets the second role is told so by whatever they start.
  const scheduler = join(folder.path, 'roles/scheduler.ts')
  cpSync(join(root, 'roles/scheduler.ts'), scheduler)
  for (const command of ['--role=api --http.port=0 --rpc.port=0 --ops.port=0', 'task stats']) {
    const { code, stderr } = await shell(`bun src/main.ts ${command}`, folder.path)
    expect([code, stderr]).toEqual([
      1,
      'bingo: nobody would do the task note.count of the queue default: add note to the modules of roles/scheduler.ts, which works that queue\n',
    ])
  }
  writeFileSync(scheduler, files.find(({ title }) => title === 'roles/scheduler.ts')?.text ?? '')

  const { port, child } = await start(folder.path)
  // An answer on each line, and then the token, which goes on to the next block.
  const said = await shell(`${onPort(requests?.text ?? '', port).replaceAll(/^curl.*/gm, '$&; echo')}\necho $TOKEN`, folder.path)
  const [, made = '', refused = '', token = ''] = said.stdout.trim().split('\n')
  const written = JSON.parse(made)
  expect(written).toMatchObject({ text: 'Buy milk', version: 1 })
  const asked = onPort(again?.text ?? '', port).replace('ID', written.id)
  const [one = '', all = ''] = asked.trim().split('\n')
  await until(async () => JSON.parse((await shell(one, folder.path, { TOKEN: token })).stdout).words === 2, 10_000)
  const listed = JSON.parse((await shell(all, folder.path, { TOKEN: token })).stdout)
  expect(listed).toMatchObject({ items: [{ id: written.id }], nextPageToken: '' })
  const shown = JSON.parse(blocks.find(({ language }) => language === 'json')?.text ?? '')
  expect(JSON.parse(refused)).toMatchObject(shown)
  const other = await newUser(`http://127.0.0.1:${port}`)
  const statuses = await Promise.all(
    [{}, other.headers].map(
      async headers => (await send('GET', `http://127.0.0.1:${port}/api/v1/notes/${written.id}`, undefined, headers)).status,
    ),
  )
  expect(statuses).toEqual([401, 404])
  child.kill('SIGTERM')
  expect(await child.exited).toBe(0)
}, 180_000)

test('the first commands of the README do what it says', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  const [first, requests, administrator] = (await blocksOf('README.md')).filter(({ language }) => language === 'sh')
  expect(first?.text).toBe('npx -y bun@1.4.5 run start\n')
  const { port, adminPort, child } = await start(folder.path)
  const { stdout, code } = await shell(onPort(requests?.text ?? '', port), folder.path)
  expect(code).toBe(0)
  expect(stdout).toStartWith('ok\n{"id":"')
  expect(stdout.split('{"id":"')).toHaveLength(3)
  const commands = onPort(administrator?.text ?? '', adminPort, 8081).replace('npx -y bun@1.4.5', 'bun')
  const made = await shell(commands, folder.path)
  expect([made.code, made.stdout]).toEqual([0, expect.stringMatching(/^grace {2}active {2}root\n\{"items":\[\{"id":/)])
  child.kill('SIGTERM')
  expect(await child.exited).toBe(0)
  const banner = await child.stderr.text()
  expect(banner).toContain('bun src/main.ts admin create --username NAME')
}, 60_000)

test('the README names every package that the product depends on, and no other', async () => {
  const readme = await Bun.file(join(root, 'README.md')).text()
  const { dependencies, devDependencies } = await Bun.file(join(root, 'package.json')).json()
  const table = [...readme.matchAll(/^\| `([^`]+)`[^|]*\|[^|]+\|[^|]+\|$/gm)]
    .map(match => match[1])
    .filter(name => name && name in { ...dependencies, ...devDependencies, x: 1 })
  expect(table.toSorted()).toEqual(Object.keys(dependencies).toSorted())
  for (const name of Object.keys(devDependencies)) expect([name, readme.includes(`\`${name}\``)]).toEqual([name, true])
})

test('the guide to the queue lists every metric of it, and no other', async () => {
  const name = /bingo_(?:task|queue|outbox)_[a-z_]+/g
  const sources = [...new Glob('src/infra/queue/**/*.ts').scanSync(root)].filter(path => !path.endsWith('.test.ts'))
  const texts = await Promise.all(sources.map(path => Bun.file(join(root, path)).text()))
  const made = new Set(texts.flatMap(text => text.match(name) ?? []))
  const guide = await Bun.file(join(root, 'docs/queue.md')).text()
  const listed = new Set(guide.slice(guide.indexOf('## What can be seen\n')).match(name))
  expect(made.size).toBeGreaterThan(15)
  expect([...listed].toSorted()).toEqual([...made].toSorted())
})
