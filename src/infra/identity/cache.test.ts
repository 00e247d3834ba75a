import { expect, test } from 'bun:test'
import type { Identified, Identifier, Subject } from '@/core/identity'
import { type FakeClock, fakeClock } from '@/testing/fake-clock'
import { userCalled } from '@/testing/identities'
import { createMemory } from './cache'
import { revocationErrors } from './epoch'

/** Identifies `u:<name>` slowly: each question waits until the test answers it. */
function slowly(clock: FakeClock) {
  const questions: { credential: string; answer(found: Identified | undefined): void; fail(thrown: unknown): void }[] = []
  let rings: (() => void)[] = []
  const identifier: Identifier = {
    takes: credential => credential.startsWith('u:'),
    identify(credential) {
      const { promise, resolve, reject } = Promise.withResolvers<Identified | undefined>()
      questions.push({ credential, answer: resolve, fail: reject })
      for (const ring of rings) ring()
      rings = []
      return promise
    },
  }
  /** Resolves once so many have been asked. */
  async function asked(count: number): Promise<void> {
    while (questions.length < count) await new Promise<void>(resolve => rings.push(resolve))
  }
  const epoch = { fresh: true, refreshes: 0, refresh: async () => {} }
  const memory = createMemory(clock)
  const recognizer = memory.recognizer([identifier], {
    isFresh: () => epoch.fresh,
    refresh: () => {
      epoch.refreshes++
      return epoch.refresh()
    },
  })
  return { questions, asked, epoch, memory, recognizer, identifier }
}

const found = (name: string, more: Partial<Identified> = {}): Identified => ({
  ...{ identity: userCalled(name), expiresAtMs: Date.parse('2100-01-01'), subjects: [`user:${name}`, `session:${name}`] },
  ...more,
})

/** Fills the memory with one. */
async function knows({ recognizer, questions, asked }: ReturnType<typeof slowly>, name: string, more: Partial<Identified> = {}) {
  const count = questions.length
  const recognized = recognizer.recognize(`u:${name}`)
  await asked(count + 1)
  questions[count]?.answer(found(name, more))
  return recognized
}

test('who has been recognized is remembered, without asking, until it expires', async () => {
  const clock = fakeClock()
  const scene = slowly(clock)
  const { recognizer, questions } = scene
  expect(recognizer.remembered('u:ada')).toBeUndefined()
  expect(await knows(scene, 'ada', { expiresAtMs: clock.nowMs() + 1000 })).toEqual(userCalled('ada'))
  clock.advance(999)
  expect(recognizer.remembered('u:ada')).toEqual(userCalled('ada'))
  clock.advance(1)
  expect(recognizer.remembered('u:ada')).toBeUndefined()
  expect(questions).toHaveLength(1)
})

test('nobody is remembered for longer than ten minutes, however long their credential is good', async () => {
  const clock = fakeClock()
  const scene = slowly(clock)
  await knows(scene, 'ada')
  clock.advance(599_999)
  expect(scene.recognizer.remembered('u:ada')).toEqual(userCalled('ada'))
  clock.advance(1)
  expect(scene.recognizer.remembered('u:ada')).toBeUndefined()
  expect(await knows(scene, 'ada')).toEqual(userCalled('ada'))
})

test('what is expired when it is found is not valid', async () => {
  const clock = fakeClock()
  const scene = slowly(clock)
  expect(await knows(scene, 'ada', { expiresAtMs: clock.nowMs() })).toBeUndefined()
  expect(scene.recognizer.remembered('u:ada')).toBeUndefined()
})

test('callers with the same credential share one question', async () => {
  const { recognizer, questions, asked } = slowly(fakeClock())
  const all = Array.from({ length: 100 }, () => recognizer.recognize('u:ada'))
  await asked(1)
  questions[0]?.answer(found('ada'))
  expect(new Set((await Promise.all(all)).map(identity => identity?.kind))).toEqual(new Set(['user']))
  expect(questions).toHaveLength(1)
})

test('what is not valid is asked again each time, and what nobody takes never', async () => {
  const { recognizer, questions, asked, memory } = slowly(fakeClock())
  for (const count of [1, 2]) {
    const refused = recognizer.recognize('u:forged')
    await asked(count)
    questions[count - 1]?.answer(undefined)
    expect(await refused).toBeUndefined()
  }
  expect(await recognizer.recognize('something else')).toBeUndefined()
  expect(questions).toHaveLength(2)
  memory.forgetAll()
})

test('a question that fails is the failure of those who wait, and is asked again', async () => {
  const scene = slowly(fakeClock())
  const { recognizer, questions, asked } = scene
  const waiting = Promise.allSettled([recognizer.recognize('u:ada'), recognizer.recognize('u:ada')])
  await asked(1)
  questions[0]?.fail(new Error('away'))
  expect((await waiting).map(each => each.status === 'rejected' && each.reason.message)).toEqual(['away', 'away'])
  expect(await knows(scene, 'ada')).toEqual(userCalled('ada'))
})

test('a change of any of its subjects is forgotten at once, and of nobody else', async () => {
  for (const subject of ['user:ada', 'session:ada'] as const) {
    const scene = slowly(fakeClock())
    await knows(scene, 'ada')
    await knows(scene, 'bob')
    scene.memory.forget(['apiKey:ada', 'user:adam', subject])
    expect(scene.recognizer.remembered('u:ada')).toBeUndefined()
    expect(scene.recognizer.remembered('u:bob')).toEqual(userCalled('bob'))
    scene.memory.forgetAll()
    expect(scene.recognizer.remembered('u:bob')).toBeUndefined()
  }
})

const changes: readonly [string, (memory: ReturnType<typeof createMemory>) => void][] = [
  ['of its account', memory => memory.forget(['user:ada'])],
  ['of its session', memory => memory.forget(['session:ada'])],
  ['of anything', memory => memory.forgetAll()],
]
for (const [what, change] of changes) {
  test(`a change ${what} while it is asked makes the question be asked again, and the old answer is neither given nor kept`, async () => {
    const { recognizer, questions, asked, memory } = slowly(fakeClock())
    const recognized = recognizer.recognize('u:ada')
    await asked(1)
    change(memory)
    // It comes while the old one is under way, and must not get it either.
    const joined = recognizer.recognize('u:ada')
    questions[0]?.answer(found('ada'))
    await asked(2)
    expect(recognizer.remembered('u:ada')).toBeUndefined()
    questions[1]?.answer(undefined)
    expect([await recognized, await joined]).toEqual([undefined, undefined])
    expect(recognizer.remembered('u:ada')).toBeUndefined()
  })
}

test('a change of somebody else while it is asked changes nothing', async () => {
  const { recognizer, questions, asked, memory } = slowly(fakeClock())
  const recognized = recognizer.recognize('u:ada')
  await asked(1)
  memory.forget(['user:bob'])
  questions[0]?.answer(found('ada'))
  expect(await recognized).toEqual(userCalled('ada'))
  expect(recognizer.remembered('u:ada')).toEqual(userCalled('ada'))
  expect(questions).toHaveLength(1)
})

test('a change while the answer waits until what is revoked is known counts, too', async () => {
  const { recognizer, questions, asked, memory, epoch } = slowly(fakeClock())
  const refreshing = Promise.withResolvers<void>()
  const isAsked = Promise.withResolvers<void>()
  epoch.fresh = false
  epoch.refresh = () => {
    isAsked.resolve()
    return refreshing.promise
  }
  const recognized = recognizer.recognize('u:ada')
  await asked(1)
  questions[0]?.answer(found('ada'))
  await isAsked.promise
  memory.forget(['session:ada'])
  epoch.fresh = true
  refreshing.resolve()
  await asked(2)
  questions[1]?.answer(undefined)
  expect(await recognized).toBeUndefined()
})

test('who is changed all the time is nobody, rather than asked for ever', async () => {
  const { recognizer, questions, asked, memory } = slowly(fakeClock())
  const recognized = recognizer.recognize('u:ada').catch(thrown => thrown)
  for (let count = 1; count <= 5; count++) {
    await asked(count)
    memory.forget(['user:ada'])
    questions[count - 1]?.answer(found('ada'))
  }
  expect(await recognized).toMatchObject({ code: 'Unavailable.Unknown', retryAfterSeconds: 1 })
  expect(questions).toHaveLength(5)
})

test('while nobody knows what is revoked, nobody is remembered; once it is known they are, without a question', async () => {
  const scene = slowly(fakeClock())
  const { recognizer, epoch, questions } = scene
  await knows(scene, 'ada')
  epoch.fresh = false
  expect(recognizer.remembered('u:ada')).toBeUndefined()
  epoch.refresh = () => Promise.reject(revocationErrors.Unknown())
  await expect(recognizer.recognize('u:ada')).rejects.toMatchObject({ code: 'Unavailable.Unknown' })
  epoch.refresh = async () => {
    epoch.fresh = true
  }
  expect(await recognizer.recognize('u:ada')).toEqual(userCalled('ada'))
  expect(questions).toHaveLength(1)
})

test('what is revoked is learned before it is remembered for longer', async () => {
  const scene = slowly(fakeClock())
  const { recognizer, epoch, memory, questions, asked } = scene
  await knows(scene, 'ada')
  epoch.fresh = false
  epoch.refresh = async () => {
    memory.forget(['session:ada'])
    epoch.fresh = true
  }
  const recognized = recognizer.recognize('u:ada')
  await asked(2)
  questions[1]?.answer(undefined)
  expect(await recognized).toBeUndefined()
})

test('servers remember apart, and all forget', async () => {
  const scene = slowly(fakeClock())
  const other = scene.memory.recognizer([{ takes: () => true, identify: async () => undefined }], {
    isFresh: () => true,
    refresh: async () => {},
  })
  await knows(scene, 'ada')
  expect(other.remembered('u:ada')).toBeUndefined()
  expect(await other.recognize('u:ada')).toBeUndefined()
  expect(scene.recognizer.remembered('u:ada')).toEqual(userCalled('ada'))
})

test('ten thousand are remembered, those who called last, and what is forgotten holds no memory', async () => {
  const { recognizer, memory } = (() => {
    const made = createMemory(fakeClock())
    const identifier: Identifier = { takes: () => true, identify: async credential => found(credential) }
    return { memory: made, recognizer: made.recognizer([identifier], { isFresh: () => true, refresh: async () => {} }) }
  })()
  for (let i = 0; i < 10_000; i++) await recognizer.recognize(`n${i}`)
  expect(recognizer.remembered('n0')).toBeDefined()
  await recognizer.recognize('one more')
  expect(recognizer.remembered('n0')).toBeDefined()
  expect(recognizer.remembered('n1')).toBeUndefined()
  expect(recognizer.remembered('n2')).toBeDefined()
  memory.forget(['user:n2' as Subject])
  expect(recognizer.remembered('n2')).toBeUndefined()
})

test('its use is told at most once a minute', async () => {
  const clock = fakeClock()
  const scene = slowly(clock)
  let uses = 0
  await knows(scene, 'ada', { used: () => void uses++ })
  expect(uses).toBe(1)
  for (const [ms, expected] of [
    [59_999, 1],
    [1, 2],
    [30_000, 2],
    [30_000, 3],
  ] as const) {
    clock.advance(ms)
    scene.recognizer.remembered('u:ada')
    expect(uses).toBe(expected)
  }
})
