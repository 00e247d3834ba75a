import { expect, test } from 'bun:test'
import { administratorStore } from '@/modules/administrator/store'
import { onEachBacking } from '@/testing/backings'
import { password, useChatLinks } from '@/testing/chat/links'
import { sentBy } from '@/testing/chat/senders'
import { failure } from '@/testing/conformance/fixture'

const invalid = 'Unprocessable.CodeInvalid'
const address = '192.0.2.1'
const ofUser = (id: string) => ({ identity: { kind: 'user', id, sessionId: 's' }, address }) as const

onEachBacking('chat links', open => {
  const { scene, setUp } = useChatLinks(open)
  const codes = async () => Number((await scene.db.first('select count(*) as "n" from "chatLinkCode"', [], { from: 'primary' }))?.['n'])

  test('a user gets no code without the password, guesses at which are counted', async () => {
    const { biz, signUp } = setUp()
    const { id } = await signUp('ada')
    expect(await failure(biz.createCode(id, { currentPassword: 'a guess' }, ofUser(id)))).toBe('Unprocessable.PasswordWrong')
    // Somebody may have reset it meanwhile.
    expect(await failure(setUp({ isChanged: true }).biz.createCode(id, { currentPassword: password }, ofUser(id)))).toBe(
      'Aborted.Contended',
    )
    expect(await codes()).toBe(0)
    const made = await biz.createCode(id, { currentPassword: password }, ofUser(id))
    expect(made.command).toBe(`/link ${made.code}`)
    expect(made.expiresAt).toBe('2026-01-31T09:15:00.000Z')
  })

  test('an administrator gets no code by a session that was ended a moment ago', async () => {
    const { administrator, adminCode, ended } = setUp()
    const grace = await administrator('grace')
    ended.add(grace.sessionId)
    expect(await failure(adminCode(grace))).toBe('Unauthenticated.Token')
    expect(await codes()).toBe(0)
  })

  test('whoever sends the code is the user from then on, who is written to, and nobody else is', async () => {
    const { biz, identify, signUp, userCode, queue, audit, log } = setUp()
    const { id } = await signUp('ada')
    const code = await userCode(id)
    queue.enqueued.length = 0
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
    expect(await biz.link(code, sentBy('17'))).toEqual({ kind: 'user', username: 'ada' })
    const known = await identify('telegram', '17')
    expect(known).toMatchObject({ kind: 'user', id })
    expect([await identify('discord', '17'), await identify('telegram', '18')]).toEqual([{ kind: 'anonymous' }, { kind: 'anonymous' }])
    expect(queue.enqueued).toMatchObject([{ task: 'email.send', payload: { userId: id, purpose: 'chatLinked' } }])
    expect(audit.events).toEqual([])
    // Again, since the answer has not come: it is the same link, and nobody is written to again.
    expect(await biz.link(code, sentBy('17'))).toEqual({ kind: 'user', username: 'ada' })
    expect([await identify('telegram', '17'), queue.enqueued.length]).toEqual([known, 1])
    expect(await failure(biz.link(code, sentBy('18')))).toBe(invalid)
    for (const line of log.lines) for (const told of [code, code.replaceAll('-', '')]) expect(JSON.stringify(line)).not.toContain(told)
  })

  test('guesses at codes are counted by sender, and of a right one none is', async () => {
    const { biz, signUp, userCode, throttle } = setUp()
    const { id } = await signUp('ada')
    throttle.guesses.length = 0
    for (const guess of ['', 'AAAA-AAAA-AAAA', 'x'.repeat(64)]) expect(await failure(biz.link(guess, sentBy('17')))).toBe(invalid)
    const code = await userCode(id)
    throttle.guesses.length = 3
    await biz.link(code, sentBy('18', { platform: 'discord' }))
    expect(throttle.guesses).toEqual([
      ...Array.from({ length: 3 }, () => ({ purpose: 'chat link', account: 'telegram:17', address: 'telegram:17', isRight: false })),
      { purpose: 'chat link', account: 'discord:18', address: 'discord:18', isRight: true },
    ])
  })

  test('who is suspended, deleted or in another role is that with the next command', async () => {
    const { biz, identify, signUp, userCode, administrator, adminCode, users, administrators } = setUp()
    const [{ id }, grace] = [await signUp('ada'), await administrator('grace')]
    const [code, adminsCode] = [await userCode(id), await adminCode(grace)]
    await biz.link(code, sentBy('17'))
    await biz.link(adminsCode, sentBy('18'))
    expect(await identify('telegram', '18')).toMatchObject({ kind: 'admin', id: grace.id, username: 'grace', permissions: new Set(['*']) })
    await scene.db.tx(tx => users.setStatus(tx, id, 'suspended'))
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
    expect(await biz.whoIs(sentBy('17'))).toBeUndefined()
    await scene.db.tx(tx => users.setStatus(tx, id, 'active'))
    expect(await identify('telegram', '17')).toMatchObject({ kind: 'user', id })
    await scene.db.tx(tx => users.remove(tx, id, {}))
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
    await administratorStore(scene.db).update(grace.id, { roleIds: [] })
    expect(await identify('telegram', '18')).toMatchObject({ kind: 'admin', permissions: new Set() })
    await administratorStore(scene.db).update(grace.id, { status: 'suspended' })
    expect(await identify('telegram', '18')).toEqual({ kind: 'anonymous' })
    await administratorStore(scene.db).delete(grace.id)
    expect([await identify('telegram', '18'), await administrators.current(grace.id)]).toEqual([{ kind: 'anonymous' }, undefined])
  })

  test('the code of an account that may not be used links nothing', async () => {
    const { biz, identify, signUp, userCode, users } = setUp()
    const { id } = await signUp('ada')
    const code = await userCode(id)
    await scene.db.tx(tx => users.setStatus(tx, id, 'suspended'))
    expect(await failure(biz.link(code, sentBy('17')))).toBe(invalid)
    await scene.db.tx(tx => users.setStatus(tx, id, 'active'))
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
  })

  test('what is dangerous needs a code of a proof that is not old, and the link is no fresher than that', async () => {
    const { biz, identify, administrator, adminCode, clock, settings } = setUp()
    const grace = await administrator('grace', 60_000)
    await biz.link(await adminCode(grace), sentBy('17'))
    const provenUntilMs = async () => {
      const identity = await identify('telegram', '17')
      return identity.kind === 'admin' ? identity.provenUntilMs : undefined
    }
    expect(await provenUntilMs()).toBe(grace.provenUntilMs)
    clock.ms += 60_000
    const again = { ...grace, provenUntilMs: clock.ms + settings.admin.provenMs }
    const before = await identify('telegram', '17')
    await biz.link(await adminCode(again), sentBy('17'))
    expect(await provenUntilMs()).toBe(again.provenUntilMs)
    expect(await identify('telegram', '17')).toEqual({ ...before, provenUntilMs: again.provenUntilMs } as never)
    // Nor does a clock that was set back give more.
    await biz.link(await adminCode({ ...grace, provenUntilMs: Number.POSITIVE_INFINITY }), sentBy('17'))
    expect(await provenUntilMs()).toBe(clock.ms + settings.admin.provenMs)
  })

  test('an administrator without the second factor that everybody needs may do nothing', async () => {
    const { biz, identify, administrator, adminCode, factors } = setUp({ secondFactor: 'required' })
    const grace = await administrator('grace')
    await biz.link(await adminCode(grace), sentBy('17'))
    expect(await identify('telegram', '17')).toMatchObject({ kind: 'admin', permissions: new Set(), lacks: 'secondFactor' })
    factors.set(grace.id, 'a factor')
    const identity = await identify('telegram', '17')
    expect(identity).toMatchObject({ permissions: new Set(['*']) })
    expect(identity).not.toHaveProperty('lacks')
  })

  test('what becomes of chat accounts of administrators is in the audit log, by whom it was done', async () => {
    const { biz, administrator, adminCode, signUp, userCode, audit, identify } = setUp()
    const [grace, { id }] = [await administrator('grace'), await signUp('ada')]
    const linked = async () => sentBy('17', { identity: await identify('telegram', '17') })
    await biz.link(await adminCode(grace), sentBy('17'))
    await biz.link(await userCode(id), await linked())
    await biz.link(await adminCode(grace), await linked())
    await biz.unlink(await linked())
    await biz.link(await adminCode(grace), sentBy('17'))
    const [link] = (await biz.list({ kind: 'admin', id: grace.id }, {})).items
    const asking = { identity: grace, address, requestId: 'r1' }
    expect(await failure(biz.remove({ kind: 'user', id }, link?.id ?? '', asking))).toBe('NotFound.LinkNotFound')
    await biz.remove({ kind: 'admin', id: grace.id }, link?.id ?? '', asking)
    expect(await failure(biz.remove({ kind: 'admin', id: grace.id }, link?.id ?? '', asking))).toBe('NotFound.LinkNotFound')
    const object = 'chat-link:telegram:17'
    const by = { actor: `admin:${grace.id}`, actorName: 'grace', address: 'telegram:17', requestId: 'update of 17' }
    const what = { platform: 'telegram', senderId: '17' }
    const made = { ...by, action: 'chat-link.create', object, after: { ...what, provenAt: '2026-01-31T09:05:00.000Z' } }
    const ended = { ...by, action: 'chat-link.delete', object, before: what }
    expect(audit.events).toEqual([made, ended, made, ended, made, { ...ended, address, requestId: 'r1' }])
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
  })

  test('who unlinks is nobody from then on, and may do so again', async () => {
    const { biz, identify, signUp, userCode } = setUp()
    const { id } = await signUp('ada')
    await biz.link(await userCode(id), sentBy('17'))
    expect(await biz.whoIs(sentBy('17'))).toEqual({ kind: 'user', username: 'ada' })
    expect([await biz.unlink(sentBy('18')), await biz.unlink(sentBy('17')), await biz.unlink(sentBy('17'))]).toEqual([
      undefined,
      'user',
      undefined,
    ])
    expect(await identify('telegram', '17')).toEqual({ kind: 'anonymous' })
    expect(await biz.whoIs(sentBy('17'))).toBeUndefined()
  })

  test('a code that was sent where others read it links nobody, and who was quicker with it is unlinked', async () => {
    const { biz, identify, administrator, adminCode, audit, log } = setUp()
    const grace = await administrator('grace')
    const by = { platform: 'telegram', id: '17' } as const
    const read = await adminCode(grace)
    await biz.expose(read, by)
    for (const thief of ['17', '18']) expect(await failure(biz.link(read, sentBy(thief)))).toBe(invalid)
    const stolen = await adminCode(grace)
    await biz.link(stolen, sentBy('18'))
    audit.events.length = 0
    await biz.expose(stolen, by)
    await biz.expose(stolen, by)
    expect(await identify('telegram', '18')).toEqual({ kind: 'anonymous' })
    const ended = { action: 'chat-link.delete', object: 'chat-link:telegram:18', address: 'telegram:17', actor: undefined }
    expect(audit.events).toEqual([{ ...ended, before: { platform: 'telegram', senderId: '18' } }])
    expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([{ fields: { object: 'telegram:18' } }])
    // Who was linked by it before stays linked.
    const own = await adminCode(grace)
    await biz.link(own, sentBy('17'))
    await biz.expose(own, by)
    expect(await identify('telegram', '17')).toMatchObject({ kind: 'admin', id: grace.id })
  })
})
