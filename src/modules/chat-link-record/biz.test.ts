import { expect, test } from 'bun:test'
import { onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { testCipher } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { type AccountOf, chatLinkRecordBiz, type SenderOf } from './biz'
import { linkCodesIn, newLinkCode, plainLinkCode } from './link-code'
import { codeLifetimeMs, linksMax } from './schema'
import { chatLinkCodeStore, chatLinkStore } from './store'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const ada: AccountOf = { kind: 'user', id: '01890a5d-ac96-774b-bcce-b302099a8057' }
const grace: AccountOf = { ...ada, kind: 'admin' }
const sender = (id: string, platform: SenderOf['platform'] = 'telegram') => ({ platform, id, name: `called ${id}` })
const invalid = 'Unprocessable.CodeInvalid'

test('codes are of letters that nobody takes for others, all as likely, and are taken however they are typed', () => {
  const codes = Array.from({ length: 3000 }, newLinkCode)
  expect(new Set(codes).size).toBe(codes.length)
  const counts = new Map<string, number>()
  for (const code of codes) {
    expect(code).toMatch(/^[A-HJ-NP-Z2-9]{4}(-[A-HJ-NP-Z2-9]{4}){2}$/)
    for (const letter of code.replaceAll('-', '')) counts.set(letter, (counts.get(letter) ?? 0) + 1)
  }
  expect(counts.size).toBe(32)
  // 1,125 of each are expected; six standard deviations are 200.
  for (const count of counts.values()) expect(Math.abs(count - 1125)).toBeLessThan(200)
  for (const typed of ['K7QM-2XHD-PW4C', 'k7qm 2xhd pw4c', ' K7QM2XHDPW4C\n']) expect(plainLinkCode(typed)).toBe('K7QM2XHDPW4C')
  for (const none of ['', 'K7QM-2XHD-PW4', 'K7QM-2XHD-PW4CC', 'K7QM-2XHD-PW40', 'K7QM-2XHD-PW4Ç', 'K7QM—2XHD—PW4C'])
    expect(plainLinkCode(none)).toBeUndefined()
})

test('codes are found among other words, as people read them there', () => {
  const code = 'K7QM2XHDPW4C'
  for (const text of ['k7qm 2xhd pw4c', 'that K7QM-2XHD-PW4C, if it still works', 'it is:K7QM2XHDPW4C!', 'K7QM  2XHD\nPW4C\nthanks'])
    expect(linkCodesIn(text)).toContain(code)
  expect(linkCodesIn('ABCD-EFGH-JKLM and K7QM-2XHD-PW4C')).toEqual(['ABCDEFGHJKLM', code])
  for (const text of ['', 'no code at all', 'K7QM-2XHD-PW4', 'XK7QM-2XHD-PW4CX', 'K7QM-2XHD-PW4O']) expect(linkCodesIn(text)).toEqual([])
  expect(linkCodesIn(`${code.repeat(3)} `.repeat(100))).toEqual([])
  expect(linkCodesIn('K7QM '.repeat(800)).length).toBeLessThan(33)
})

onEachBacking('chat accounts', open => {
  const scene = useMigrated(open, ['chatLink', 'chatLinkCode'])

  function setUp(db = scene.db) {
    const clock = { ms: startMs, nowMs: () => clock.ms }
    const biz = chatLinkRecordBiz({ db, clock, cipher: testCipher, links: chatLinkStore, codes: chatLinkCodeStore })
    const mint = async (account: AccountOf, provenAtMs = startMs) => (await db.tx(tx => biz.mint(tx, account, provenAtMs))).code
    const use = async (code: string, by = sender('17')) => {
      const found = await biz.check(code)
      if (!found) throw Object.assign(new Error('not found'), { code: invalid })
      return db.tx(tx => biz.link(tx, found, by))
    }
    return { biz, clock, mint, use }
  }

  test('a code links a chat account, once, and is kept as a keyed digest only', async () => {
    const { biz, mint, use } = setUp()
    const code = await mint(ada, startMs - 5)
    const kept = JSON.stringify(await scene.db.all('select * from "chatLinkCode"', [], { from: 'primary' }))
    const plain = code.replaceAll('-', '')
    const hash = new Bun.CryptoHasher('sha256').update(plain)
    for (const readable of [code, plain, hash.copy().digest('hex'), hash.digest('base64url')]) expect(kept).not.toContain(readable)
    expect(await use(code.toLowerCase())).toBeUndefined()
    expect(await biz.find(sender('17'))).toMatchObject({ account: ada, provenAtMs: startMs - 5 })
    expect(await failure(use(code, sender('18')))).toBe(invalid)
    expect([await biz.find(sender('18')), await biz.find(sender('17', 'discord'))]).toEqual([undefined, undefined])
  })

  test('a code is no use when it has expired, when a newer one was made, nor to whoever has only seen it', async () => {
    const { clock, mint, use } = setUp()
    const old = await mint(ada)
    const code = await mint(ada)
    expect(await failure(use(old))).toBe(invalid)
    // The one of an administrator with the same id is another account's.
    await mint(grace)
    clock.ms += codeLifetimeMs
    expect(await failure(use(code))).toBe(invalid)
    clock.ms--
    await use(code)
    expect(await failure(use(code))).toBe(invalid)
  })

  test('of a hundred that send a code at the same time on two processes one is linked', async () => {
    const other = await openAgain(scene.backing)
    try {
      const [one, two] = [setUp(), setUp(other)]
      const code = await one.mint(ada)
      const uses = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => (i % 2 ? one : two).use(code, sender(`${i}`))))
      expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      expect(new Set(uses.flatMap(each => (each.status === 'rejected' ? [each.reason.code] : [])))).toEqual(new Set([invalid]))
      expect((await one.biz.list(ada)).items).toHaveLength(1)
    } finally {
      await other.close()
    }
  }, 30_000)

  test('a code that was looked at before all links of its account ended links nothing after it', async () => {
    const { biz, mint, use } = setUp()
    await use(await mint(ada), sender('17'))
    await use(await mint(grace), sender('18'))
    const found = await biz.check(await mint(ada))
    if (!found) throw new Error('the code is not good')
    expect(await scene.db.tx(tx => biz.endAll(tx, ada))).toBe(1)
    expect(await failure(scene.db.tx(tx => biz.link(tx, found, sender('19'))))).toBe(invalid)
    expect([await biz.find(sender('17')), await biz.find(sender('19'))]).toEqual([undefined, undefined])
    expect(await biz.find(sender('18'))).toMatchObject({ account: grace })
  })

  test('links that end while codes are sent on another process leave none behind', async () => {
    const other = await openAgain(scene.backing)
    try {
      const [one, two] = [setUp(), setUp(other)]
      for (let i = 0; i < 20; i++) {
        const code = await one.mint(ada)
        await Promise.allSettled([one.use(code, sender(`${i}`)), two.biz.find(sender('0')), other.tx(tx => two.biz.endAll(tx, ada))])
        // Either it came too late, or it was ended, too.
        expect((await one.biz.list(ada)).items).toEqual([])
      }
    } finally {
      await other.close()
    }
  }, 30_000)

  test('another code of the account renews the proof of the link, and one of another account makes it that one’s', async () => {
    const { biz, mint, use } = setUp()
    await use(await mint(ada, startMs - 5))
    const before = await biz.find(sender('17'))
    expect(await use(await mint(ada, startMs))).toEqual(ada)
    expect(await biz.find(sender('17'))).toEqual({ id: before?.id ?? '', account: ada, provenAtMs: startMs })
    const code = await mint(grace)
    expect(await use(code)).toEqual(ada)
    const after = await biz.find(sender('17'))
    expect(after?.account).toEqual(grace)
    expect(after?.id).not.toBe(before?.id as string)
    expect((await biz.list(ada)).items).toEqual([])
    // It was this code: who has not got the answer may send it again.
    expect(await biz.linkedBy(code, sender('17'))).toEqual(after as never)
    expect([await biz.linkedBy(code, sender('18')), await biz.linkedBy(newLinkCode(), sender('17'))]).toEqual([undefined, undefined])
  })

  test('an account has so many chat accounts and no more, which it sees and removes, and nobody else does', async () => {
    const { biz, mint, use } = setUp()
    for (let i = 0; i < linksMax; i++) await use(await mint(ada), sender(`${i}`, i % 2 ? 'telegram' : 'discord'))
    const code = await mint(ada)
    expect(await failure(use(code, sender('more')))).toBe('Conflict.TooManyLinks')
    // What is there already takes no more room, and what was refused has not used the code up.
    await use(code, sender('1'))
    const { items } = await biz.list(ada, { pageSize: 100 })
    expect(items).toHaveLength(linksMax)
    expect(Object.keys(items[0] ?? {}).toSorted()).toEqual(['createdAt', 'id', 'platform', 'provenAt', 'senderId', 'senderName'])
    const id = items.find(({ senderId }) => senderId === '1')?.id ?? ''
    expect(await failure(biz.get(grace, id))).toBe('NotFound.LinkNotFound')
    expect(await scene.db.tx(tx => biz.remove(tx, grace, id))).toBe(false)
    expect([await scene.db.tx(tx => biz.remove(tx, ada, id)), await scene.db.tx(tx => biz.remove(tx, ada, id))]).toEqual([true, false])
    expect(await biz.find(sender('1'))).toBeUndefined()
  })

  test('what strangers call themselves is kept without what would change how the rest is read', async () => {
    const { biz, mint, use } = setUp()
    await use(await mint(ada), { ...sender('17'), name: `\u202eAda\u0000\r\n\u001b[31m${'\ud800'}${'a'.repeat(200)}` })
    const [{ senderName = '' } = {}] = (await biz.list(ada)).items
    expect(senderName.length).toBeLessThanOrEqual(100)
    expect(senderName).toStartWith('Ada')
    expect(senderName).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u)
    await use(await mint(ada), { ...sender('18'), name: '\u0000' })
    expect((await biz.list(ada)).items.find(({ senderId }) => senderId === '18')?.senderName).toBe('')
  })

  test('codes that have expired are removed, and nothing else', async () => {
    const { biz, clock, mint, use } = setUp()
    await mint(ada)
    clock.ms += 1000
    const code = await mint(grace)
    clock.ms += codeLifetimeMs - 1000
    expect([await biz.removeExpired(100), await biz.removeExpired(100)]).toEqual([1, 0])
    await use(code)
  })

  test('a code that others may have read is void, and who else was linked by it is known', async () => {
    const { biz, mint, use } = setUp()
    const by = sender('17')
    const [code, other] = [await mint(ada), await mint(grace)]
    expect(await biz.expose('nothing', by)).toEqual({ voided: 0, stolen: [] })
    expect(await biz.expose(`take ${code.toLowerCase()}, please`, by)).toEqual({ voided: 1, stolen: [] })
    expect(await failure(use(code, sender('18')))).toBe(invalid)
    // The other one is as good as before, and was quicker.
    await use(other, sender('18'))
    const { id } = (await biz.find(sender('18'))) ?? {}
    const stolen = { id, account: grace, provenAtMs: startMs, sender: { platform: 'telegram', id: '18' } }
    expect(await biz.expose(other, by)).toEqual({ voided: 0, stolen: [stolen] } as never)
    expect(await biz.expose(other, sender('18', 'discord'))).toEqual({ voided: 0, stolen: [stolen] } as never)
    expect(await biz.expose(other, sender('18'))).toEqual({ voided: 0, stolen: [] })
  })
})
