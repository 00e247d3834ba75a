import { describe, expect, test } from 'bun:test'
import { cpSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { DockerfileParser } from 'dockerfile-ast'
import { validate } from 'dockerfile-utils'
import { roles } from '@roles'
import manifest from '../../../package.json' with { type: 'json' }
import { runBingo, startBingo, temporaryFolder } from '../bingo'
import { freePort } from '../servers'
import { built, root, testWith, unknownVariables } from './common'

describe('the image', () => {
  const text = readFileSync(join(root, 'Dockerfile'), 'utf8')
  const dockerfile = DockerfileParser.parse(text)
  const argumentsOf = (keyword: string) =>
    dockerfile
      .getInstructions()
      .filter(instruction => instruction.getKeyword() === keyword)
      .map(instruction => instruction.getArgumentsContent() ?? '')
  const only = (keyword: string) => {
    const found = argumentsOf(keyword)
    expect(found, keyword).toHaveLength(1)
    return found[0] ?? ''
  }
  const exec = (keyword: string) => JSON.parse(only(keyword)) as string[]
  const copies = dockerfile.getCOPYs().map(copy => ({
    paths: copy.getArguments().map(argument => argument.getValue()),
    flags: new Map(copy.getFlags().map(flag => [flag.getName(), flag.getValue()])),
  }))
  const healthcheck = JSON.parse(only('HEALTHCHECK').replace(/^.*\bCMD /, '')) as string[]
  const env = Object.fromEntries(dockerfile.getENVs().flatMap(line => line.getProperties().map(each => [each.getName(), each.getValue()])))

  test('is made by a valid Dockerfile', () => {
    expect(validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`)).toEqual([])
  })

  test('is built from images of a named version, by the Bun that package.json names', () => {
    const images = dockerfile.getFROMs().map(from => from.getImage() ?? '')
    expect(images[0]).toBe(`oven/bun:${manifest.engines.bun}`)
    for (const image of images) expect(image).toMatch(/:(?!latest$)[\w.-]+$/)
  })

  test('starts the executable without a shell, every role unless told otherwise, and checks it by itself', () => {
    expect(exec('ENTRYPOINT')).toEqual(['/bingo'])
    expect(exec('CMD')).toEqual(['--role=all'])
    expect(healthcheck).toEqual(['/bingo', 'healthcheck'])
    expect(only('STOPSIGNAL')).toBe('SIGTERM')
  })

  test('runs as a user without rights, who owns /data and nothing else', () => {
    expect(only('USER')).toBe('65532:65532')
    expect(exec('VOLUME')).toEqual(['/data'])
    const owned = copies.filter(({ flags }) => flags.has('chown'))
    expect(owned).toEqual([{ paths: ['/data', '/data'], flags: new Map(Object.entries({ from: 'build', chown: '65532:65532' })) }])
    expect(env['BINGO_DATABASE_URL']).toBe('sqlite:/data/bingo.db')
  })

  test('sets no variable that is not a setting', () => {
    expect(unknownVariables(Object.keys(env))).toEqual([])
  })

  test('is built from what the Dockerfile copies alone, and needs glibc alone', () => {
    using folder = temporaryFolder()
    const sent = new Set(
      readFileSync(join(root, '.dockerignore'), 'utf8')
        .split('\n')
        .filter(line => line.startsWith('!'))
        .map(line => line.slice(1)),
    )
    for (const { paths } of copies.filter(({ flags }) => !flags.has('from'))) {
      for (const source of paths.slice(0, -1)) {
        expect(sent, `.dockerignore lets ${source} through`).toContain(source)
        cpSync(join(root, source), join(folder.path, source), { recursive: true })
      }
    }
    // In the place of `bun install`, which needs a network.
    symlinkSync(join(root, 'node_modules'), join(folder.path, 'node_modules'))
    expect(argumentsOf('RUN')).toContain('bun run build')
    const build = Bun.spawnSync([process.execPath, 'run', 'build'], { cwd: folder.path, stdout: 'ignore', stderr: 'pipe' })
    expect(build.exitCode, build.stderr.toString()).toBe(0)

    const libraries = Bun.spawnSync(['ldd', join(folder.path, 'dist/bingo')]).stdout.toString()
    const names = libraries.split('\n').flatMap(line => /([\w.+-]+\.so[\w.]*)/.exec(line)?.[1] ?? [])
    expect(names).toContain('libc.so.6')
    const ofGlibc = /^(linux-vdso|ld-linux[\w-]*|libc|libm|libpthread|libdl)\.so/
    expect(names.filter(name => !ofGlibc.test(name))).toEqual([])
  }, 60_000)

  for (const role of ['all', ...roles.map(({ name }) => name)]) {
    testWith(built, `finds itself healthy as ${role}, and not when it is stopped`, async () => {
      using folder = temporaryFolder()
      // The ops port is one for all roles in the image; here it is a free one.
      expect(env['BINGO_OPS_PORT']).toBeString()
      const inImage = {
        ...env,
        BINGO_HTTP_HOST: '127.0.0.1',
        BINGO_OPS_PORT: String(freePort()),
        BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db`,
        BINGO_SHUTDOWN_DRAIN_MS: '0',
      }
      const check = () => runBingo(healthcheck.slice(1), { env: inImage })
      const running = await startBingo({ roles: role, args: [`--ops.port=${inImage.BINGO_OPS_PORT}`], env: inImage })
      try {
        expect((await check()).code).toBe(0)
      } finally {
        expect(await running.stop()).toBe(0)
      }
      expect((await check()).code).toBe(1)
    })
  }
})
