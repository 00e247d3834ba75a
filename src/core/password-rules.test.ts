import { expect, test } from 'bun:test'
import commonPasswords from './common-passwords.txt' with { type: 'text' }
import { strictWeakness, weakness } from './password-rules'

const ada = { username: 'ada-lovelace', email: 'ada.king@example.com' }

test('none of the 3,000 most common passwords is taken, in any case of its letters', () => {
  const common = commonPasswords.trim().split('\n')
  expect(new Set(common).size).toBe(3000)
  for (const password of common) expect([password, weakness(password.toUpperCase(), ada)]).toEqual([password, expect.any(String)])
})

test('nor is what somebody who knows the account tries first', () => {
  for (const password of ['ada-lovelace', 'ADA-LOVELACE', 'ada.king@example.com', 'Ada.King'])
    expect([password, weakness(password, ada)]).toEqual([password, expect.stringContaining('username')])
  expect(weakness('ada-lovelace', { username: 'ada-lovelace' })).toBeDefined()
})

test('whatever else is, without rules for its characters', () => {
  for (const password of ['correct horse battery', 'aaaaaaaabbbb', '密码密码密码密码', '        . ', 'ada-lovelace 2'])
    expect([password, weakness(password, ada)]).toEqual([password, undefined])
})

test('nor, for who guards everything, one of them with digits and signs around it', () => {
  const grace = { username: 'grace-hopper' }
  for (const password of ['password1234', '!!Password2024', '123456789012', 'abc12345$$$$', 'grace-hopper1', 'password'])
    expect([password, strictWeakness(password, grace)]).toEqual([password, expect.any(String)])
  for (const password of [
    'correct horse battery',
    'password of grace 1',
    '4839 2093 7713',
    '密码密码密码密码密码密码',
    '1'.repeat(128).replaceAll('11', '17'),
  ])
    expect([password, strictWeakness(password, grace)]).toEqual([password, undefined])
})
