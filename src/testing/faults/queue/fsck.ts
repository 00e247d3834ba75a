import type { FsckFinding } from '@/core/queue/admin'
import type { QueueDriver } from '@/infra/queue/driver'

/** All steps of the check of a queue. */
export async function fsck(
  driver: QueueDriver,
  queue: string,
  options: { fix: boolean; leaseMs: number },
): Promise<Omit<FsckFinding, 'queue'>[]> {
  const findings: Omit<FsckFinding, 'queue'>[] = []
  let cursor: string | undefined
  do {
    const step = await driver.fsck(queue, { ...options, ...(cursor === undefined ? {} : { cursor }) })
    findings.push(...step.findings)
    cursor = step.cursor
  } while (cursor !== undefined)
  return findings
}
