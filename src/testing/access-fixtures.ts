import { call, type Cast, linkChatAccount, password, type Person } from './access-cast'

/** What each route of the servers is sent by its operation, so that whoever may come has something to come for. A new route adds a line. */

export type Face = 'api' | 'admin'

/** What is sent to a route, so that it succeeds for those who may. */
export interface Fixture {
  id?: string
  query?: string
  body?: unknown
  /** Where it does not quite succeed: a code that is wrong. */
  status?: number
  /** What who has the permission of the route alone is told, where what is asked for needs another one as well. */
  refusedAlone?: string
}
/** @param whose the owner of what it is about */
export type MakeFixture = (whose: Person) => Fixture | Promise<Fixture>

let count = 0
const unique = () => `made${++count}`
const newSchedule = () => ({ name: unique(), cron: '0 3 1 1 *', task: 'user.export', payload: { format: 'csv' } })
/** Exporting users by hand needs users:export, too. */
const refusedAlone = 'PermissionDenied.TaskPermission'
const wrongCode = 'A'.repeat(48)
const newTask = { task: 'user.export', payload: { format: 'csv' } }
/** As a command of the bot makes it. */
const aLink = (cast: Cast, kind: 'user' | 'admin', id: string) => ({ id: linkChatAccount(cast.database, kind, id) })
const aQueue = () => ({ id: 'bulk' })
const allTasks = () => ({ body: { queue: 'bulk', filter: {} } })
const newRole = (permissions: readonly string[] = []) => ({ name: unique(), permissions })
const newAnnouncement = () => ({ topic: 'news', text: unique(), at: new Date(Date.now() + 3_600_000).toISOString() })
const newAdmin = () => ({ username: unique(), roleIds: [] })
const newAccount = () => ({ username: unique(), email: `${unique()}@example.com`, password })
const nothing = () => ({})
const toPerson = ({ id }: Person) => ({ id })

/** @param castNow everybody who may come, once they are there */
export function fixturesOf(castNow: () => Cast): Record<Face, Record<string, MakeFixture>> {
  const made = async (path: string, body: unknown) => (await call('POST', `${castNow().admin}${path}`, body, castNow().root)).id
  const anExport = async () => ({ id: await made('/user-exports', { format: 'csv' }) })
  const aSchedule = async () => ({ id: await made('/schedules', newSchedule()) })
  const anAnnouncement = async () => ({ id: await made('/announcements', newAnnouncement()) })
  const aTask = async () => ({ id: await made('/tasks', newTask) })
  const aRole = async () => ({ id: await made('/roles', newRole()) })
  const anAdmin = async () => ({ id: (await call('POST', `${castNow().admin}/admins`, newAdmin(), castNow().root)).administrator.id })

  return {
    api: {
      signUp: () => ({ body: newAccount() }),
      getUser: toPerson,
      changeUser: ({ id }) => ({ id, body: { nickname: unique() } }),
      deleteUser: toPerson,
      listUsers: nothing,
      logIn: ({ username }) => ({ body: { login: username, password } }),
      refreshSession: ({ refreshToken }) => ({ body: { refreshToken } }),
      listSessions: nothing,
      logOut: nothing,
      endSession: ({ sessionId }) => ({ id: sessionId }),
      createApiKey: () => ({ body: { name: unique(), scopes: ['users:read'], currentPassword: password } }),
      getApiKey: ({ keys }) => ({ id: keys.id }),
      listApiKeys: nothing,
      deleteApiKey: ({ keys }) => ({ id: keys.id }),
      createChatLinkCode: () => ({ body: { currentPassword: password } }),
      listChatLinks: nothing,
      deleteChatLink: ({ id }) => aLink(castNow(), 'user', id),
      getMe: nothing,
      changePassword: () => ({ body: { currentPassword: password, password: 'another good password' } }),
      requestEmailVerification: nothing,
      verifyEmail: () => ({ body: { code: wrongCode }, status: 422 }),
      requestPasswordReset: () => ({ body: { email: `${unique()}@example.com` } }),
      resetPassword: () => ({ body: { code: wrongCode, password: 'another good password' }, status: 422 }),
    },
    admin: {
      logIn: () => ({ body: { username: 'root', password } }),
      refreshSession: async () => {
        const { refreshToken } = await call('POST', `${castNow().admin}/sessions`, { username: 'root', password })
        return { body: { refreshToken } }
      },
      listSessions: nothing,
      logOut: nothing,
      endSession: () => ({ id: crypto.randomUUID(), status: 404 }),
      proveSession: () => ({ body: { password } }),
      getMe: nothing,
      changePassword: () => ({ body: { currentPassword: password, password: 'password12345' }, status: 422 }),
      beginSecondFactor: () => ({ body: { currentPassword: password } }),
      confirmSecondFactor: () => ({ body: { code: '000000' }, status: 422 }),
      renewRecoveryCodes: () => ({ body: { code: '000000' }, status: 422 }),
      removeSecondFactor: () => ({ body: { code: '000000' }, status: 422 }),
      createChatLinkCode: nothing,
      listChatLinks: nothing,
      // Of the administrator that has logged in, who are many.
      deleteChatLink: () => ({ id: crypto.randomUUID(), status: 404 }),
      createServiceKey: () => ({ body: { name: unique(), scopes: ['users:read'] } }),
      listServiceKeys: nothing,
      getServiceKey: async () => ({ id: await made('/api-keys', { name: unique(), scopes: ['users:read'] }) }),
      deleteServiceKey: async () => ({ id: await made('/api-keys', { name: unique(), scopes: ['users:read'] }) }),
      listUsers: nothing,
      getUser: toPerson,
      createUser: () => ({ body: { username: unique(), email: `${unique()}@example.com` } }),
      deleteUser: toPerson,
      endUserSessions: toPerson,
      sendUserReset: toPerson,
      suspendUser: toPerson,
      restoreUser: toPerson,
      exportUsers: () => ({ body: { format: 'csv' } }),
      getUserExport: anExport,
      getUserExportContent: async () => ({ ...(await anExport()), status: 412 }),
      deleteUserExport: anExport,
      listUserExports: nothing,
      listAnnouncements: nothing,
      createAnnouncement: () => ({ body: newAnnouncement() }),
      getAnnouncement: anAnnouncement,
      cancelAnnouncement: anAnnouncement,
      listSchedules: nothing,
      createSchedule: () => ({ body: newSchedule(), refusedAlone }),
      previewSchedule: () => ({ body: newSchedule() }),
      getSchedule: aSchedule,
      changeSchedule: async () => ({ ...(await aSchedule()), body: { jitterMs: 9 }, refusedAlone }),
      deleteSchedule: aSchedule,
      pauseSchedule: aSchedule,
      resumeSchedule: aSchedule,
      runSchedule: async () => ({ ...(await aSchedule()), refusedAlone }),
      listTicks: aSchedule,
      listQueues: nothing,
      getQueue: aQueue,
      pauseQueue: aQueue,
      resumeQueue: aQueue,
      listQueueErrors: aQueue,
      listQueueFindings: aQueue,
      mendQueue: aQueue,
      listTasks: () => ({ query: '?queue=bulk&state=waiting' }),
      enqueueTask: () => ({ body: { ...newTask, queue: 'bulk' }, status: 201, refusedAlone }),
      getTask: aTask,
      deleteTask: aTask,
      // It waits by itself.
      retryTask: async () => ({ ...(await aTask()), status: 412 }),
      cancelTask: aTask,
      moveTask: async () => ({ ...(await aTask()), body: { to: 'default' } }),
      retryTasks: allTasks,
      cancelTasks: allTasks,
      moveTasks: () => ({ body: { queue: 'bulk', filter: {}, to: 'default' } }),
      deleteTasks: allTasks,
      listPermissions: nothing,
      listRoles: nothing,
      createRole: () => ({ body: newRole() }),
      getRole: aRole,
      changeRole: async () => ({ ...(await aRole()), body: { summary: 'another' } }),
      deleteRole: aRole,
      listAdmins: nothing,
      createAdmin: () => ({ body: newAdmin() }),
      getAdmin: anAdmin,
      changeAdmin: async () => ({ ...(await anAdmin()), body: { roleIds: [] } }),
      deleteAdmin: anAdmin,
      suspendAdmin: anAdmin,
      restoreAdmin: anAdmin,
      inviteAdmin: anAdmin,
      acceptInvitation: () => ({ body: { code: wrongCode, password: 'another good password' }, status: 422 }),
      getSystem: nothing,
      listenToEvents: nothing,
      countSubscriptions: nothing,
      listAuditEvents: nothing,
      // No lines, which can be read as JSON.
      exportAuditEvents: () => ({ query: '?format=ndjson&action=none' }),
      getAuditEvent: async () => ({
        id: (await call('GET', `${castNow().admin}/audit-events`, undefined, castNow().root)).items[0]?.id ?? '',
      }),
      getSettings: nothing,
      changeSettings: () => ({ body: { logLevel: 'info' } }),
    },
  }
}
