import { expect, test } from 'bun:test'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Glob } from 'bun'
import { temporaryFolder } from './bingo'

/** The .proto files: what is generated of them is what they say, and what has been published stays callable. */

const proto = resolve(import.meta.dir, '../proto')

/** Its compiler and our generator are packages, so nothing is fetched. */
async function buf(args: readonly string[], cwd = proto) {
  const child = Bun.spawn([process.execPath, '--bun', 'x', 'buf', ...args], {
    ...{ cwd, stdout: 'pipe', stderr: 'pipe' },
    env: { ...process.env, PATH: `${resolve(import.meta.dir, '../../node_modules/.bin')}:${process.env['PATH']}` },
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { code, said: stdout + stderr }
}

const textsIn = (folder: string) =>
  Object.fromEntries([...new Glob('**/*').scanSync(folder)].toSorted().map(path => [path, readFileSync(join(folder, path), 'utf8')]))

test('what is generated is as the .proto files say: else bun run generate', async () => {
  using folder = temporaryFolder()
  expect(await buf(['generate', '-o', folder.path])).toEqual({ code: 0, said: '' })
  expect(textsIn(join(folder.path, 'generated'))).toEqual(textsIn(join(proto, 'generated')))
}, 60_000)

test('the .proto files are written as is usual', async () => {
  expect(await buf(['lint'])).toEqual({ code: 0, said: '' })
}, 60_000)

const against = ['breaking', '--path', 'bingo', '--against', join(proto, 'published.binpb')]

test('whoever was written for what is published can still call it: see bun run publish:proto', async () => {
  expect(await buf(against)).toEqual({ code: 0, said: '' })
}, 60_000)

test('every service that there is has been published: else bun run publish:proto', async () => {
  using folder = temporaryFolder()
  const [now, published] = [join(folder.path, 'now.json'), join(folder.path, 'published.json')]
  expect(await buf(['build', '--path', 'bingo', '-o', now])).toEqual({ code: 0, said: '' })
  expect(await buf(['build', join(proto, 'published.binpb'), '-o', published])).toEqual({ code: 0, said: '' })
  expect(servicesIn(published).length).toBeGreaterThan(0)
  expect(servicesIn(published)).toEqual(servicesIn(now))
}, 60_000)

interface Image {
  file: { package: string; service?: { name: string; method: { name: string }[] }[] }[]
}

/** `bingo.user.v1.UserService/GetUser` */
function servicesIn(path: string): string[] {
  const { file } = JSON.parse(readFileSync(path, 'utf8')) as Image
  return file
    .flatMap(each => (each.service ?? []).flatMap(({ name, method }) => method.map(one => `${each.package}.${name}/${one.name}`)))
    .toSorted()
}

test('what would break callers is found', async () => {
  for (const [before, after, said] of [
    ['string username = 2;', 'string username = 9;', 'username'],
    ['rpc WatchUser(', 'rpc ObserveUser(', 'WatchUser'],
    ['int32 version = 8;', 'string version = 8;', 'version'],
  ] as const) {
    using folder = temporaryFolder()
    cpSync(proto, folder.path, { recursive: true })
    const path = join(folder.path, 'bingo/user/v1/user.proto')
    const text = readFileSync(path, 'utf8')
    expect(text).toContain(before)
    writeFileSync(path, text.replace(before, after))
    const found = await buf(against, folder.path)
    expect(found.code).not.toBe(0)
    expect(found.said).toContain(said)
  }
}, 120_000)
