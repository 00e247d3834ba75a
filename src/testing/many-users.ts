import { Database } from 'bun:sqlite'

/** Puts users straight into a database of SQLite: each by HTTP would have its password hashed. They cannot log in. */
export function addUsers(path: string, count: number): void {
  const db = new Database(path)
  const insert = db.query(
    'insert into "user" ("id", "username", "email", "passwordHash", "status", "createdAt", "updatedAt", "version") values (?, ?, ?, ?, ?, ?, ?, 1)',
  )
  const now = Date.now()
  db.transaction(() => {
    for (let i = 0; i < count; i++) insert.run(Bun.randomUUIDv7(), `many${i}`, `many${i}@example.com`, 'x', 'active', now, now)
  })()
  db.close()
}
