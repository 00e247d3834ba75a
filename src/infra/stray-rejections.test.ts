import { expect, test } from 'bun:test'
import { join } from 'node:path'

const program = `
import { createLog } from '@/infra/log'
import { logStrayRejections } from '@/infra/stray-rejections'
const log = createLog({ level: 'info', format: 'json' }, {})
logStrayRejections(log)
void Promise.reject(new Error('afloat'))
await Bun.sleep(1)
log.info('goes on')
await log.close()
process.exit(0)
`

test('a rejection that nobody waits for is an error in the log, and ends nothing', async () => {
  const child = Bun.spawn(['bun', '-e', program], { cwd: join(import.meta.dir, '../..'), stdout: 'pipe', stderr: 'pipe' })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  const lines = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect([code, stderr]).toEqual([0, ''])
  expect(lines).toMatchObject([
    { level: 'error', err: { message: 'afloat' } },
    { level: 'info', msg: 'goes on' },
  ])
})
