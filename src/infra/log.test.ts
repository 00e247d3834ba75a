import { expect, test } from 'bun:test'
import { escapes } from '@/testing/corpora'
import { createLogOn, pretty } from './log'
import { createSink, type LineWriter } from './log-sink'

/** A stream whose reader takes what it is given when told to. */
function slowWriter() {
  const taken: string[] = []
  let given = ''
  let release = Promise.withResolvers<number>()
  const writer: LineWriter = {
    write: text => {
      given += text
    },
    flush: () => {
      const mine = release
      return mine.promise.then(n => {
        taken.push(given)
        given = ''
        return n
      })
    },
  }
  return {
    writer,
    taken,
    take() {
      const mine = release
      release = Promise.withResolvers<number>()
      mine.resolve(1)
    },
    fail: () => release.reject(Object.assign(new Error('broken pipe'), { code: 'EPIPE' })),
  }
}

test('when nobody reads, lines are kept up to a limit, then dropped and counted', async () => {
  const { writer, taken, take } = slowWriter()
  const sink = createSink(writer)
  sink.write('first\n')
  sink.flush()
  const line = `${'x'.repeat(1024 * 1024)}\n`
  for (let i = 0; i < 20; i++) sink.write(line)
  take()
  while (taken.length === 0) await Bun.sleep(0)
  sink.flush()
  take()
  while (taken.length === 1) await Bun.sleep(0)
  expect(taken[0]).toBe('first\n')
  expect(taken[1]).toContain('"dropped":13')
  expect(taken[1]?.length).toBeLessThan(9 * 1024 * 1024)
})

test('a reader that is gone neither throws nor holds up the end', async () => {
  const { writer, fail } = slowWriter()
  const sink = createSink(writer)
  sink.write('x\n')
  sink.flush()
  fail()
  await sink.close()
  sink.write('y\n')
  await sink.close()
})

test('a reader that stands still holds up the end for a second at most', async () => {
  const { writer } = slowWriter()
  const sink = createSink(writer)
  sink.write('x\n')
  const started = performance.now()
  await sink.close()
  expect(performance.now() - started).toBeLessThan(3000)
})

test('a line is one line of JSON, whatever its fields hold', () => {
  const lines: string[] = []
  const log = createLogOn(line => void lines.push(line), 'info')
  log.info('said "so"\n{"level":"error"}', { path: '\u001b[31m\r\nx', nothing: undefined, err: new Error('x', { cause: new Error('y') }) })
  log.debug('not written')
  expect(lines).toHaveLength(1)
  const [line = ''] = lines
  for (const bad of ['\n', '\r', '\u001b']) expect(line.trimEnd()).not.toContain(bad)
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'info',
    service: 'bingo',
    msg: 'said "so"\n{"level":"error"}',
    path: '\u001b[31m\r\nx',
  })
  expect(log.enabled('info')).toBe(true)
  expect(log.enabled('debug')).toBe(false)
})

test('nothing of a line is obeyed by a terminal, in JSON and for people, and programs read it as it was', () => {
  const lines: string[] = []
  const log = createLogOn(line => void lines.push(line), 'info')
  const odd = escapes.join('\u2028\u007f')
  log.warn(`said ${odd}`, { odd, name: 'plain', err: new Error(odd) })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/
  const [line = ''] = lines
  const shown = pretty(line).replaceAll('\u001b[33m', '').replaceAll('\u001b[0m', '')
  expect([obeyed.exec(line), obeyed.exec(shown)]).toEqual([null, null])
  expect(JSON.parse(line)).toMatchObject({ msg: `said ${odd}`, odd, err: { message: odd } })
  expect(shown).toContain(' name=plain')
  expect(shown).toContain('\n    at ')
})

test('an error is written with its stack and causes, and without whatever else hangs on it', () => {
  const lines: string[] = []
  const log = createLogOn(line => void lines.push(line), 'info')
  log.error('failed', { err: Object.assign(new Error('outer', { cause: new TypeError('inner') }), { code: 'E_X', sql: 'hunter2' }) })
  log.error('thrown text', { err: 'text' })
  expect(JSON.parse(lines[0] ?? '').err).toMatchObject({
    type: 'Error',
    message: 'outer',
    code: 'E_X',
    cause: { type: 'TypeError', message: 'inner' },
  })
  expect(lines[0]).not.toContain('hunter2')
  expect(JSON.parse(lines[1] ?? '').err).toBe('text')
})

test('a field that JSON cannot say does not lose the event', () => {
  const lines: string[] = []
  const log = createLogOn(line => void lines.push(line), 'info', { role: 'api' })
  const circle: { self?: unknown } = {}
  circle.self = circle
  log.info('odd', { circle })
  log.info('odd', { n: 1n })
  log.info('bare', {})
  expect(lines.map(line => JSON.parse(line))).toMatchObject([
    { msg: 'odd', unwritable: ['circle'] },
    { msg: 'odd', unwritable: ['n'] },
    { msg: 'bare', role: 'api' },
  ])
})

test('a level that is set while it is written holds from the next line on, also for what asks first', () => {
  const lines: string[] = []
  const log = createLogOn(line => void lines.push(line), 'warn')
  const { info, debug } = log
  info('a')
  expect(log.enabled('info')).toBe(false)
  log.setLevel('debug')
  expect([log.enabled('debug'), log.enabled('info')]).toEqual([true, true])
  info('b')
  debug('c')
  log.setLevel('silent')
  log.error('d')
  log.setLevel('error')
  log.warn('e')
  log.error('f')
  expect(lines.map(line => JSON.parse(line).msg)).toEqual(['b', 'c', 'f'])
})
