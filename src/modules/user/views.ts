import type { Account, User, UserRow } from './schema'

/** What leaves the process of a user. */
export const shown = ['id', 'username', 'email', 'nickname', 'status', 'createdAt', 'updatedAt', 'version'] as const

export function view({
  id,
  username,
  email,
  nickname,
  status,
  createdAt,
  updatedAt,
  version,
}: Pick<UserRow, (typeof shown)[number]>): User {
  const shown = { id, username, email, status, createdAt, updatedAt, version }
  return nickname === undefined ? shown : { ...shown, nickname }
}

export const accountView = (row: UserRow): Account => {
  const { emailVerifiedAt } = row
  return emailVerifiedAt === undefined ? view(row) : { ...view(row), emailVerifiedAt }
}
