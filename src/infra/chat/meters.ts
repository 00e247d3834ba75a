import type { PlatformName } from '@/core/chat'
import type { Metrics } from '@/core/metrics'

/** What is counted of each platform. */
export interface ChatMeters {
  /** What was asked of it, by how it ended. */
  called(outcome: string): void
  /** What it sent to its webhook, by whether that was believed. */
  came(outcome: string): void
}

export function chatMeters(metrics: Metrics, platform: PlatformName): ChatMeters {
  const calls = metrics.counter({
    name: 'bingo_chat_calls_total',
    help: 'Calls of the interface of a chat platform.',
    labels: ['platform', 'outcome'],
  })
  const webhooks = metrics.counter({
    name: 'bingo_chat_webhooks_total',
    help: 'Requests to the path of a chat platform.',
    labels: ['platform', 'outcome'],
  })
  return {
    called: outcome => calls.with({ platform, outcome }).add(),
    came: outcome => webhooks.with({ platform, outcome }).add(),
  }
}
