import { expect, test } from 'bun:test'
import { AppError } from '@/core/error'
import { Readiness } from '@/core/service'
import { keptCookies, removedCookies } from '@/core/session-cookies'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { sessionErrors } from '@/modules/session'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { recognizing } from '@/testing/identities'
import type { AdminSessionBiz } from './biz'
import { adminSessionController } from './controller'

const tokens = { accessToken: 'eyJ.access', refreshToken: 'br_next', expiresInSeconds: 600 }

/** A browser that refreshes. */
async function refreshing(refresh: () => Promise<typeof tokens>) {
  const [log, readiness] = [fakeLog(), new Readiness()]
  const health = createHealth(readiness, [], log)
  const tools = { log, metrics: fakeMetrics(), readiness, health, recognizer: recognizing({}), bodyLimitBytes: 1024 }
  const app = httpApp('admin', '/admin/v1', [adminSessionController({ refresh } as Partial<AdminSessionBiz> as AdminSessionBiz)], tools)
  const headers = { cookie: '__Host-bingo-refresh=br_last', 'sec-fetch-site': 'same-origin' }
  const { status, headers: answered } = await app.handle(
    new Request('http://localhost/admin/v1/sessions/refresh', { method: 'POST', headers }),
  )
  return [status, answered.getSetCookie()]
}

test('a browser is logged out when its session is over, and by nothing else that goes wrong with a refresh', async () => {
  const failing = (error: Error) =>
    refreshing(async () => {
      throw error
    })
  expect(await refreshing(async () => tokens)).toEqual([200, keptCookies(tokens)])
  expect(await failing(sessionErrors.RefreshTokenInvalid())).toEqual([401, removedCookies()])
  expect(await failing(new Error('the database is away'))).toEqual([500, []])
  expect(await failing(new AppError('Unavailable', 'Away', 'The database is away.'))).toEqual([503, []])
})
