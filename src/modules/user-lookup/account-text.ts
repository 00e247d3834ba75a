/** What is shown of an account, as the API tells it. */
export interface ShownAccount {
  readonly id: string
  readonly username: string
  readonly email: string
  readonly nickname?: string | undefined
  readonly status: number
  readonly createdAt?: { readonly seconds: bigint } | undefined
}

/** By the numbers of bingo.user.v1.UserStatus. */
const statuses = ['unknown', 'active', 'suspended']

/** An account for people, in a few lines of plain text. */
export function accountText(
  { id, username, email, nickname, status, createdAt }: ShownAccount,
  { showsEmail }: { showsEmail: boolean },
): string {
  const since = createdAt && new Date(Number(createdAt.seconds) * 1000).toISOString().slice(0, 10)
  return [
    nickname === undefined ? username : `${username} (${nickname})`,
    `status: ${statuses[status] ?? statuses[0]}`,
    showsEmail ? `e-mail: ${email}` : 'e-mail: only in a private chat',
    ...(since === undefined ? [] : [`since: ${since}`]),
    `id: ${id}`,
  ].join('\n')
}
