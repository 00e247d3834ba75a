import { roles } from '@roles'
import { documentOf, unopened } from '@/app'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import { administratorPorts, administratorsOf } from './administrators'
import { type Arguments, type Flags, usage } from './arguments'
import { askPassword } from './ask-password'
import { type Command, configOf } from './command'

import { withOpened } from './opened'
import { version } from './version'

const flags: Flags = {
  username: { value: 'NAME', summary: 'of the administrator' },
  'password-file': { value: 'FILE', summary: 'has the password, - for standard input; asked for when absent' },
  permissions: { value: 'NAME,NAME…', summary: 'what they may do; all, which is *, when one is made without' },
}

interface Action {
  flags: readonly (keyof typeof flags)[]
  act(biz: AdministratorBiz, of: Asked): Promise<Administrator | Administrator[]>
}
interface Asked {
  username: string
  password: string
  permissions: readonly string[]
}

const byName =
  (act: (biz: AdministratorBiz, id: string, of: Asked) => Promise<Administrator>): Action['act'] =>
  async (biz, of) =>
    act(biz, (await biz.named(of.username)).id, of)

const actions: Record<string, Action> = {
  create: {
    flags: ['username', 'password-file', 'permissions'],
    act: (biz, { username, password, permissions }) => biz.create({ username, password, permissions: [...permissions] }),
  },
  list: { flags: [], act: biz => biz.list() },
  permit: { flags: ['username', 'permissions'], act: byName((biz, id, { permissions }) => biz.setPermissions(id, permissions)) },
  password: { flags: ['username', 'password-file'], act: byName((biz, id, { password }) => biz.setPassword(id, password)) },
  suspend: { flags: ['username'], act: byName((biz, id) => biz.setStatus(id, 'suspended')) },
  restore: { flags: ['username'], act: byName((biz, id) => biz.setStatus(id, 'active')) },
}
const names = Object.keys(actions)

export const adminCommand: Command = {
  name: 'admin',
  usage: `${names.join('|')} [--json]`,
  summary: 'Makes administrators, lists them, says what they may do, gives them another password, suspends and restores them.',
  flags,
  examples: [
    ['bingo admin create --username grace', 'asks for the password; she may do everything'],
    ['bingo admin create --username ada --permissions schedules:read', 'she may look at schedules'],
    ['bingo admin permit --username ada --permissions schedules:read,schedules:write', 'what she may do from now on'],
    ['bingo admin password --username grace', 'another password; whoever is logged in as her is not any more'],
    ['bingo admin suspend --username ada', 'she is logged out within two seconds, and stays so'],
  ],
  async run(args) {
    const [, name = '', ...rest] = args.words
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (!action || rest.length > 0) throw usage(`bingo admin takes ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`)
    const asked = await askedOf(args, name, action)
    return withOpened(configOf(args).config, administratorPorts, async ({ ports }) => {
      show(await action.act(administratorsOf(ports), asked), args)
      return 0
    })
  },
}

/** Asks for the password at last, when nothing else is wrong. @throws StartError with exit code 64 */
async function askedOf({ flags: given }: Arguments, name: string, { flags: known }: Action): Promise<Asked> {
  const odd = Object.keys(given).find(flag => !known.includes(flag))
  if (odd !== undefined) throw usage(`bingo admin ${name} has no flag --${odd}`)
  const { username = '', permissions: listed } = given
  if (known.includes('username') && username === '') throw usage(`bingo admin ${name} needs --username NAME`)
  if (name === 'permit' && listed === undefined)
    throw usage('bingo admin permit needs --permissions NAME,NAME…, or --permissions=* for all')
  const permissions = listed === undefined ? ['*'] : await permissionsNamed(listed)
  const password = known.includes('password-file') ? await askPassword(given['password-file']) : ''
  return { username, password, permissions }
}

async function permissionsNamed(text: string): Promise<string[]> {
  const named = [...new Set(text.split(',').map(name => name.trim()))].filter(Boolean)
  const known = await permissionsKnown()
  const odd = named.find(name => name !== '*' && !known.includes(name))
  if (odd !== undefined) throw usage(`there is no permission ${JSON.stringify(odd)}; permissions are ${known.join(', ')} and *`)
  return named
}

/** What the routes of all roles ask for; what they ask of API keys, too, since whoever makes one for a service must have it. */
async function permissionsKnown(): Promise<string[]> {
  const documents = await Promise.all(roles.map(role => documentOf(role, unopened, version)))
  const rules = documents.flatMap(document =>
    Object.values(document?.paths ?? {}).flatMap(item => Object.values(item).flatMap(operation => operation['x-access'] ?? [])),
  )
  return [...new Set(rules.flatMap(rule => /^(?:admin|apiKey)\((.+)\)$/.exec(rule)?.[1] ?? []))].toSorted()
}

function show(shown: Administrator | Administrator[], { switches }: Arguments): void {
  if (switches.has('json')) {
    console.log(JSON.stringify(shown))
    return
  }
  for (const { username, status, permissions } of [shown].flat()) console.log(`${username}  ${status}  ${permissions.join(',') || '–'}`)
}
