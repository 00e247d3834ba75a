import type { AdminIdentity, ApiKeyIdentity, Identity, ServiceIdentity, UserIdentity } from '@/core/identity'
import type { Recognizer } from '@/infra/http/recognition'

/** Callers for tests of what is behind recognition: no credential is checked. */
export const userCalled = (id: string): UserIdentity => ({ kind: 'user', id, sessionId: `session of ${id}` })
export const keyCalled = (id: string, scopes: readonly string[], userId?: string): ApiKeyIdentity => ({
  ...{ kind: 'apiKey', id, userId, scopes: new Set(scopes), requestsPerMinute: undefined },
})
export const adminCalled = (id: string, permissions: readonly string[] = ['*']): AdminIdentity => ({
  ...{
    kind: 'admin',
    id,
    sessionId: `session of ${id}`,
    username: id,
    permissions: new Set(permissions),
    provenUntilMs: Number.POSITIVE_INFINITY,
  },
})

/** @param known by what they send as `Authorization: Bearer` */
export const recognizing = (known: Readonly<Record<string, Identity>>): Recognizer => ({
  remembered: credential => (Object.hasOwn(known, credential) ? known[credential] : undefined),
  recognize: async () => undefined,
})

export const serviceCalled = (id: string, scopes: readonly string[]): ServiceIdentity => ({ kind: 'service', id, scopes: new Set(scopes) })
