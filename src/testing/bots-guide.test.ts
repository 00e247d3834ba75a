import { expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Glob } from 'bun'
import { roles } from '@roles'
import { commandsOf, modulesOf } from '@/app'
import { accessNames } from '@/core/access'
import { webhookMaxBytes } from '@/core/chat'
import { buildModules } from '@/core/module'
import { unopened } from '@/http-faces'
import * as limits from '@/modules/bot/schema'
import { executable, startBingo, temporaryFolder } from './bingo'
import { startDiscord } from './chat/fake-discord'
import { blocksOf, checkTypes, copyOfSources, root, rowsUnder, sentencesUnder, shell, testTitles } from './guides'
import { startTelegram } from './chat/fake-telegram'

setDefaultTimeout(300_000)
const guide = 'docs/bots.md'

test('what the guide to bots promises is tested', async () => {
  const sentences = await sentencesUnder(guide, 'What is promised')
  expect(sentences.length).toBeGreaterThan(8)
  const titles = await testTitles(guide)
  expect(sentences.filter(sentence => !titles(sentence))).toEqual([])
})

test('the guide to bots names each command with who may give it', async () => {
  const commands = commandsOf(roles, buildModules(modulesOf(roles), unopened))
  const said = (await rowsUnder(guide, 'What people can do')).map(([name, who]) => [name, who?.replaceAll('`', '')])
  expect(said).toEqual(commands.map(({ name, access }) => [`\`/${name}\``, accessNames(access).join(', ')]))
})

test('the guide to bots lists every metric of bots, and no other', async () => {
  const sources = ['src/infra/chat/**/*.ts', 'src/modules/{bot,chat-link,chat-update,subscription,announcement}/**/*.ts']
  const files = sources.flatMap(each => [...new Glob(each).scanSync(root)]).filter(path => !path.endsWith('.test.ts'))
  const texts = await Promise.all(files.map(path => Bun.file(join(root, path)).text()))
  const made = texts.flatMap(text => [...text.matchAll(/name: '([a-z_]+_(?:total|seconds))'/g)].map(match => match[1] as string))
  const text = await Bun.file(join(root, guide)).text()
  const listed = text.slice(text.indexOf('## What can be seen\n')).matchAll(/`([a-z_]+_(?:total|seconds))\b/g)
  expect(made.length).toBeGreaterThan(4)
  expect([...new Set([...listed].map(match => match[1]))].toSorted()).toEqual([...new Set(made)].toSorted())
})

test('the guide to bots says the limits that there are', async () => {
  const said = (await rowsUnder(guide, 'Limits')).map(([what, number]) => [what, number])
  expect(said).toEqual([
    ['of one sender', `${limits.perSenderMax} in a minute`],
    ['waiting of one chat', String(limits.waitingPerChatMax)],
    ['what somebody says', '4,096 characters'],
    ['what is sent to the webhooks', `${webhookMaxBytes / 1024} KiB`],
    ['a command', `${limits.commandTimeoutMs / 1000} seconds, ${limits.attemptsMax === 3 ? 'three' : limits.attemptsMax} times`],
    ['what waits, since no bot runs', `${limits.lateMs / 60_000} minutes`],
    ['an answer that cannot be sent', limits.sendMaxMs === 3_600_000 ? 'an hour' : `${limits.sendMaxMs} ms`],
    ['a message of the bot', '4,096 characters'],
  ])
  expect(limits.perSenderMs).toBe(60_000)
})

test('the token is enough for Telegram, and an administrator can link a chat and announce to it, as the guide to bots says', async () => {
  using folder = temporaryFolder()
  const [telegram, discord] = [await startTelegram(), await startDiscord()]
  const [start = '', link = '', announce = ''] = (await blocksOf(guide)).filter(({ language }) => language === 'sh').map(({ text }) => text)
  expect(start.match(/BINGO_\w+/g)).toEqual(['BINGO_TELEGRAM_TOKEN'])
  const env = {
    ...{ BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` },
    ...{ BINGO_TELEGRAM_TOKEN: telegram.token, BINGO_TELEGRAM_API_ROOT: telegram.url, ...discord.env },
  }
  const bingo = await startBingo({ roles: 'admin,bot', env })
  const here = (text: string) =>
    text.replaceAll('localhost:8081', new URL(bingo.urls['admin'] ?? '').host).replaceAll('bingo admin', `${executable} admin`)
  const linked = await shell(`${here(link)}\necho; echo "$TOKEN"`, folder.path, env)
  const [answer = '', token = ''] = linked.stdout.trim().split('\n').slice(-2)
  const { command } = JSON.parse(answer)
  const from = 42
  const answers = async (count: number) => {
    await telegram.until(() => telegram.sentTo(from).length >= count, 20_000)
    return telegram.sentTo(from).at(-1)
  }
  telegram.say(command, { from })
  await answers(1)
  telegram.say('/whoami', { from })
  expect(await answers(2)).toContain('grace')
  telegram.say('/subscribe news', { from })
  await answers(3)
  const [send = '', look = ''] = announce.split(/^(?=curl)/m)
  const run = (text: string) => shell(here(text), folder.path, { ...env, TOKEN: token, JSON: 'content-type: application/json' })
  await run(send)
  await run(send)
  expect(await answers(4)).toBe('We have moved to larger servers.')
  const shown = (await blocksOf(guide)).filter(({ language }) => language === 'json').at(-1)
  let items: object[] = []
  for (let i = 0; i < 100 && JSON.stringify(items[0])?.includes('"state":"sent"') !== true; i++) {
    items = JSON.parse((await run(look)).stdout).items
    await Bun.sleep(100)
  }
  expect(items).toEqual([expect.objectContaining(JSON.parse(shown?.text ?? ''))])
  expect(telegram.sentTo(from)).toHaveLength(4)
  await bingo.stop()
  await telegram.close()
  await discord.stop()
})

test('the command of the guide to bots can be added, and tested, as it says', async () => {
  using folder = temporaryFolder()
  copyOfSources(folder.path)
  const files = (await blocksOf(guide)).filter(({ language, title }) => language === 'ts' && title)
  expect(files).toHaveLength(4)
  for (const { title, text } of files) {
    mkdirSync(dirname(join(folder.path, title)), { recursive: true })
    writeFileSync(join(folder.path, title), text)
  }
  const role = join(folder.path, 'roles/bot.ts')
  const source = await Bun.file(role).text()
  writeFileSync(role, `import { dice } from '@/modules/dice'\n${source.replace('modules: [', 'modules: [dice, ')}`)
  const fixtures = join(folder.path, 'src/testing/chat/command-fixtures.ts')
  const asked = () => shell("bun test src/testing/command-access.test.ts -t 'a fixture for every command|roll'", folder.path)
  expect((await asked()).stderr).toContain('give /roll a fixture in src/testing/chat/command-fixtures.ts')
  writeFileSync(fixtures, (await Bun.file(fixtures).text()).replace('  start: {},', '  roll: {},\n  start: {},'))
  expect(await asked()).toMatchObject({ code: 0 })
  mkdirSync(join(folder.path, 'dist'))
  symlinkSync(join(root, 'dist/bingo'), join(folder.path, 'dist/bingo'))
  expect(await checkTypes(folder.path)).toMatchObject({ code: 0, stdout: '' })
  const lint = await shell('bunx biome check --error-on-warnings src/modules/dice src/testing/e2e/storm.test.ts', folder.path)
  expect([lint.code, lint.stderr]).toEqual([0, expect.any(String)])
  const tested = await shell('bun test src/app.test.ts src/modules/dice src/testing/e2e/storm.test.ts', folder.path)
  expect([tested.code, tested.stderr]).toEqual([0, expect.stringContaining('a storm of refusals is waited out')])
})
