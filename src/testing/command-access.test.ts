import { afterAll, beforeAll, expect, test } from 'bun:test'
import { roles } from '@roles'
import { commandsOf, modulesOf, permissionsOf, portsOf, queuesOf, scheduledTasksOf, tasksOf, topicsOf } from '@/app'
import { accessNames } from '@/core/access'
import type { AnyCommand } from '@/core/command'
import { loadConfig } from '@/core/config/load'
import { type AdminIdentity, anonymous, type Identity } from '@/core/identity'
import { bizOf, buildModules } from '@/core/module'
import { worksOf } from '@/core/works'
import { unopened } from '@/http-faces'
import { migrateUp } from '@/infra/database/migrate'
import { type OpenPorts, openPorts } from '@/infra/ports'
import { migrations } from '@/migrations'
import { type Run, runBiz } from '@/modules/bot/run.biz'
import { refusalIn } from '@/modules/chat-link'
import { user } from '@/modules/user'
import { temporaryFolder } from './bingo'
import { commandFixtures } from './chat/command-fixtures'
import { type FakeLog, fakeAudit, fakeLog, fakeMetrics } from './fakes'
import { adminCalled, userCalled } from './identities'

/**
 * Every command of the bot × every kind of sender, through what takes commands in. Which commands there are, and what they ask for, is read
 * from the code; so a new one without a fixture fails, and so does one whose rules are not enforced.
 */

const serving = roles.filter(({ serves }) => serves.includes('bot') || serves.includes('rpc'))
const declared = commandsOf(roles, buildModules(modulesOf(serving), unopened))
const permissions = permissionsOf(roles).map(({ name }) => name)

const folder = temporaryFolder()
let opened: OpenPorts
let commands: readonly AnyCommand[]
const log: FakeLog = fakeLog()
const audit = fakeAudit()
/** What has been run since it was last looked at. */
const ran: string[] = []
let identity: Identity = anonymous
let senderCount = 0
let run: Run
let ada: { id: string; username: string }
let bob: { id: string; username: string }

beforeAll(async () => {
  const url = `sqlite:${folder.path}/bingo.db`
  const env = { BINGO_DATABASE_URL: url, BINGO_MAIL_URL: undefined }
  const { config } = loadConfig({ env, flags: {}, readFile: () => '' })
  const needed = {
    ...{ tasks: tasksOf(roles), queues: queuesOf(roles), rules: worksOf(roles).queues, scheduledTasks: scheduledTasksOf(roles) },
    ...{ allTasks: tasksOf(roles), permissions: permissionsOf(roles), topics: topicsOf(roles) },
    process: { roles: ['bot'], version: 'test', roleNames: roles.map(({ name }) => name) },
  }
  opened = await openPorts(config, portsOf(serving), { log, metrics: fakeMetrics(), ...needed })
  const { ports, db } = opened
  if (!db) throw new Error('there is no database')
  await migrateUp(db, migrations)
  await opened.liveSettings?.service.start()
  const faces = buildModules(modulesOf(serving), ports)
  commands = commandsOf(serving, faces)
  opened.offerCommands(commands)
  opened.rpc?.serveHere([...faces.values()].flatMap(({ rpc = [] }) => rpc))
  const counted = commands.map(command => ({
    ...command,
    run: (...given: Parameters<AnyCommand['run']>) => {
      ran.push(command.name)
      return command.run(...given)
    },
  }))
  run = runBiz({ refusalIn, commands: { all: () => counted }, log, clock: ports.clock, audit, identify: async () => identity })
  const { users } = bizOf({ users: user }, ports)
  const signUp = (username: string) => users.signUp({ username, email: `${username}@example.com`, password: 'correct horse battery' })
  ada = await signUp('ada')
  bob = await signUp('bob')
}, 60_000)
afterAll(async () => {
  await opened.liveSettings?.service.stop()
  await opened.close()
  folder[Symbol.dispose]()
})

/** @returns `ok`, or the code of what the sender is told */
async function give({ name }: AnyCommand, as: Identity): Promise<string> {
  identity = as
  // A sender of their own, since guesses are counted for each.
  const senderId = `${++senderCount}`
  const update = { id: crypto.randomUUID(), platform: 'telegram', updateId: '1', chatId: '1', senderId, position: 1 }
  const said = { command: name, input: commandFixtures[name]?.input?.(ada) ?? '', isPrivate: true, senderName: 'somebody', replyTo: '' }
  const attempt = { signal: new AbortController().signal, log, requestId: 'matrix' }
  return run(update as never, said as never, attempt).then(
    ({ code }) => code,
    thrown => thrown.code ?? String(thrown),
  )
}

interface Senders {
  may: [who: string, identity: Identity, code: string][]
  mayNot: [who: string, identity: Identity, code: string][]
}

const administrator = (granted: readonly string[], more: Partial<AdminIdentity> = {}): Identity => ({
  ...adminCalled(crypto.randomUUID(), granted),
  ...more,
})

/** Who may, and who may not and why; said apart from the code that decides. */
function senders({ name, access }: AnyCommand): Senders {
  const rules = accessNames(access)
  const { code = 'ok', ofAnother } = commandFixtures[name] ?? {}
  const found: Senders = { may: [], mayNot: [] }
  const has = (rule: string) => rules.includes(rule)
  const judge = (may: boolean, who: string, as: Identity, refusal: string, then = code) =>
    void (may || has('everyone') ? found.may.push([who, as, then]) : found.mayNot.push([who, as, refusal]))
  const notForYou = 'PermissionDenied.NotForYou'
  judge(false, 'somebody who is not linked', anonymous, 'Unauthenticated.Credentials')
  const owns = has('owner') && !has('user')
  judge(has('user') || has('owner'), 'the user', userCalled(ada.id), notForYou)
  const others = ofAnother ?? code
  judge(has('user'), 'another user', userCalled(bob.id), owns ? 'PermissionDenied.NotYours' : notForYou, others)

  const forAdmins = rules.filter(rule => rule.startsWith('admin'))
  const named = forAdmins.flatMap(rule => /^admin\((.+)\)$/.exec(rule)?.[1]?.split(', ') ?? []).filter(each => each !== 'proven')
  const isDangerous = forAdmins.length > 0 && forAdmins.every(rule => rule.includes('proven'))
  const any = forAdmins.length > 0 && named.length === 0
  const denied = forAdmins.length === 0 ? notForYou : 'PermissionDenied.Permission'
  judge(forAdmins.length > 0, 'root', administrator(['*']), denied)
  judge(any, 'an administrator without a permission', administrator([]), denied)
  for (const permission of permissions) {
    judge(any || named.includes(permission), `an administrator with ${permission} alone`, administrator([permission]), denied)
    const rest = permissions.filter(each => each !== permission)
    const hasEnough = any || named.some(each => each !== permission)
    judge(hasEnough, `an administrator with all but ${permission}`, administrator(rest), denied)
  }
  if (isDangerous) judge(false, 'root whose proof is old', administrator(['*'], { provenUntilMs: Date.now() - 1 }), 'Unauthenticated.Proof')
  const unprotected = administrator([], { lacks: 'secondFactor' })
  judge(any, 'an administrator who lacks the second factor', unprotected, forAdmins.length > 0 ? 'PermissionDenied.SecondFactor' : denied)
  return found
}

test('there is a fixture for every command, and none for another; each declares who may give it', () => {
  const where = 'in src/testing/chat/command-fixtures.ts'
  const named = new Set(declared.map(({ name }) => name))
  const missing = declared.filter(({ name }) => !(name in commandFixtures)).map(({ name }) => `give /${name} a fixture ${where}`)
  const idle = Object.keys(commandFixtures).filter(name => !named.has(name))
  expect([...missing, ...idle.map(name => `take the fixture of /${name}, which is no command, out of those ${where}`)]).toEqual([])
  for (const { name, access } of declared) expect([name, access.length > 0]).toEqual([name, true])
  expect(commands.map(({ name }) => name)).toEqual(declared.map(({ name }) => name))
})

for (const command of declared)
  test(`/${command.name}: ${accessNames(command.access).join(' or ')}`, async () => {
    const { may, mayNot } = senders(command)
    const known = mayNot.filter(([, { kind }]) => kind === 'admin').length
    ran.length = 0
    log.lines.length = 0
    audit.events.length = 0
    for (const [who, as, code] of mayNot) expect([who, await give(command, as)]).toEqual([who, code])
    // Nothing was done, each is a line of the log, and what administrators tried is in the audit log.
    await Bun.sleep(0)
    expect([ran, log.lines.filter(({ message }) => message === 'access denied').length, audit.events.length]).toEqual([
      [],
      mayNot.length,
      known,
    ])
    for (const [who, as, code] of may) expect([who, await give(command, as)]).toEqual([who, code])
    expect([may.length > 0, ran.length]).toEqual([true, may.length])
  }, 60_000)
