import { expect, test } from 'bun:test'
import { askedBy, type Asking } from '@/core/asking'
import { failure } from '@/testing/conformance/fixture'
import { refuseUnheld } from './holding.biz'

const asking: Asking = {
  identity: { kind: 'admin', id: 'ada', username: 'ada', sessionId: 's', permissions: new Set(['*']), provenUntilMs: 0 },
  address: '192.0.2.1',
}
const unheld = async () => undefined
const tx = undefined as never

test('whom the log is to name holds nothing: only a request, by its identity, or the command line gives and takes permissions', async () => {
  expect(await failure(refuseUnheld(tx, asking, [], { unheld }))).toBe('PermissionDenied.NotHeld')
  expect(await failure(refuseUnheld(tx, { kind: 'commandLine', actor: askedBy(asking) }, ['*'], { unheld }))).toBe('resolved')
  // @ts-expect-error an actor is no power, also where no compiler looks
  expect(await failure(refuseUnheld(tx, askedBy(asking), [], { unheld }))).not.toBe('resolved')
  // @ts-expect-error
  expect(await failure(refuseUnheld(tx, { ...askedBy(asking), actor: 'commandLine' }, [], { unheld }))).not.toBe('resolved')
})
