import { type CommandLine, doneBy } from '@/core/asking'
import { StartError } from '@/core/error'
import { bizOf, portsNeeded } from '@/core/module'
import { type AdministratorAdminBiz, administration } from '@/modules/administration'
import { adminRole, type AdminRoleBiz, rootRoleName } from '@/modules/admin-role'
import type { Administrator } from '@/modules/administrator'
import { secondFactor, type SecondFactorBiz } from '@/modules/second-factor'
import { type Arguments, type Flags, usage } from './arguments'
import { askPassword } from './ask-password'
import { type Command, configOf } from './command'
import { commandLine } from './command-line'
import { isSomebodyThere, saysYes } from './confirm'
import { withOpened } from './opened'

const flags: Flags = {
  username: { value: 'NAME', summary: 'of the administrator' },
  'password-file': { value: 'FILE', summary: 'has the password, - for standard input; asked for when absent' },
  roles: { value: 'NAME,NAME…', summary: 'what they may do; root, which is everything, when one is made without' },
  yes: { summary: 'delete: without asking' },
}

interface Action {
  flags: readonly (keyof typeof flags)[]
  act(of: Asked): Promise<Shown>
}
/** What there is to print: administrators, a code for one, or what was done. */
type Shown = Administrator | Administrator[] | { code: string; expiresAt: string } | { deleted: string }

interface Asked {
  accounts: AdministratorAdminBiz
  adminRoles: Pick<AdminRoleBiz, 'named'>
  factors: Pick<SecondFactorBiz, 'removeFor'>
  by: CommandLine
  username: string
  password: string
  roles: readonly string[]
}

const byName =
  (act: (id: string, of: Asked) => Promise<Administrator>): Action['act'] =>
  async of =>
    act((await of.accounts.named(of.username)).id, of)

const idsOf = async ({ adminRoles, roles }: Asked) => (await adminRoles.named(roles)).map(({ id }) => id)

const actions: Record<string, Action> = {
  create: {
    flags: ['username', 'password-file', 'roles'],
    act: async of => of.accounts.createWithPassword({ username: of.username, password: of.password, roleIds: await idsOf(of) }, of.by),
  },
  list: { flags: [], act: ({ accounts }) => accounts.all() },
  roles: {
    flags: ['username', 'roles'],
    act: byName(async (id, of) => of.accounts.setRoles(id, await idsOf(of), {}, of.by)),
  },
  password: {
    flags: ['username', 'password-file'],
    act: byName((id, { accounts, password, by }) => accounts.setPassword(id, password, by)),
  },
  invite: {
    flags: ['username'],
    act: async ({ accounts, username, by }) => accounts.invite((await accounts.named(username)).id, by),
  },
  suspend: { flags: ['username'], act: byName((id, { accounts, by }) => accounts.suspend(id, by)) },
  restore: { flags: ['username'], act: byName((id, { accounts, by }) => accounts.restore(id, by)) },
  'remove-second-factor': {
    flags: ['username'],
    act: byName(async (id, { accounts, factors, username, by }) => {
      if (!(await factors.removeFor(id, doneBy(by), { endsSessions: true }))) throw new StartError(`${username} has no second factor`)
      return accounts.get(id)
    }),
  },
  delete: {
    flags: ['username', 'yes'],
    act: async ({ accounts, username, by }) => {
      const { id, username: deleted } = await accounts.named(username)
      await accounts.remove(id, {}, by)
      return { deleted }
    },
  },
}
const names = Object.keys(actions)
const modules = { administration, adminRole, secondFactor }

export const adminCommand: Command = {
  name: 'admin',
  usage: `${names.join('|')} [--json]`,
  summary:
    'Makes administrators, lists them, gives them roles, another password or a code to choose one, removes their second factors, suspends, restores and deletes them.',
  flags,
  examples: [
    ['bingo admin create --username grace', 'asks for the password; she may do everything'],
    ['bingo admin create --username ada --roles support', 'she may do what the role allows; roles are made at /admin/v1/roles'],
    ['bingo admin roles --username ada --roles support,operator', 'all the roles that she has from now on'],
    ['bingo admin password --username grace', 'another password; whoever is logged in as her is not any more'],
    ['bingo admin invite --username ada', 'a code with which she chooses another password herself'],
    ['bingo admin remove-second-factor --username ada', 'she has lost the app and the recovery codes, and sets up another'],
    ['bingo admin suspend --username ada', 'she is logged out within two seconds, and stays so'],
  ],
  async run(args) {
    const [, name = '', ...rest] = args.words
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (!action || rest.length > 0) throw usage(`bingo admin takes ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`)
    const asked = await askedOf(args, name, action)
    return withOpened(configOf(args).config, [...portsNeeded(Object.values(modules))], async ({ ports }) => {
      const {
        administration: { accounts },
        adminRole: adminRoles,
        secondFactor: factors,
      } = bizOf(modules, ports)
      show(await action.act({ ...asked, accounts, factors, adminRoles, by: commandLine() }), args)
      return 0
    })
  },
}

/** Asks at last, when nothing else is wrong. @throws StartError with exit code 64 */
async function askedOf(
  { flags: given }: Arguments,
  name: string,
  { flags: known }: Action,
): Promise<Pick<Asked, 'username' | 'password' | 'roles'>> {
  const odd = Object.keys(given).find(flag => !known.includes(flag))
  if (odd !== undefined) throw usage(`bingo admin ${name} has no flag --${odd}`)
  const { username = '', roles: listed } = given
  if (known.includes('username') && username === '') throw usage(`bingo admin ${name} needs --username NAME`)
  if (name === 'roles' && listed === undefined) throw usage('bingo admin roles needs --roles NAME,NAME…, or --roles= for none')
  const roles = [...new Set((listed ?? rootRoleName).split(',').map(role => role.trim()))].filter(Boolean)
  if (known.includes('yes')) await confirm(name, username, given['yes'] !== undefined)
  const password = known.includes('password-file') ? await askPassword(given['password-file']) : ''
  return { username, password, roles }
}

async function confirm(name: string, username: string, isSaid: boolean): Promise<void> {
  if (isSaid) return
  if (!isSomebodyThere()) throw usage(`bingo admin ${name} is for good; say --yes`)
  if (!(await saysYes(`Delete the administrator ${username} for good?`))) throw new StartError('nothing was changed')
}

function show(shown: Shown, { switches }: Arguments): void {
  if (switches.has('json')) {
    console.log(JSON.stringify(shown))
    return
  }
  if ('code' in shown) console.log(`${shown.code}  until ${shown.expiresAt}; give it with a password to POST /admin/v1/invitations/accept`)
  else if ('deleted' in shown) console.log(`${shown.deleted}  deleted`)
  else
    for (const { username, status, roles } of [shown].flat())
      console.log(`${username}  ${status}  ${roles.map(role => role.name).join(',') || '–'}`)
}
