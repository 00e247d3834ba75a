/** What each command of the bot is given, so that whoever may give it has something to give. A new command adds a line. */
export interface CommandFixture {
  /** What is typed behind the command, about somebody. */
  input?: (of: { username: string }) => string
  /** Where it does not quite succeed: a code that is wrong. */
  code?: string
  /** What another user is told of what is somebody's own. */
  ofAnother?: string
}

const wrongCode = 'AAAA-AAAA-AAAA'

export const commandFixtures: Readonly<Record<string, CommandFixture>> = {
  health: {},
  help: {},
  link: { input: () => wrongCode, code: 'Unprocessable.CodeInvalid' },
  maintenance: { input: () => 'off' },
  ping: {},
  start: {},
  subscribe: {},
  unlink: {},
  unsubscribe: {},
  user: { input: ({ username }) => username, ofAnother: 'PermissionDenied.NotYours' },
  version: {},
  whoami: {},
}
