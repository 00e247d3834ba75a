import { textOf } from '../http-client'
import type { ApiDocument } from './document'
import { type Generator, generate, type HostileRequest } from './generate'
import { fault, type Judged } from './judge'
import type { Random } from './random'

const atATime = 16
/** None may hang. Passwords are hashed in a line. */
const answerLimitMs = 20_000

/** Whom requests come from, and what there is that they can be about. */
export type Targets = Omit<Generator, 'document'>

export interface Bombardment {
  random: Random
  document: ApiDocument
  count: number
  /** Asked before some are sent: callers log themselves out, and remove themselves. @param begun how many were sent before */
  targets(begun: number): Promise<Targets>
  /** What is changed of a request before it is sent. */
  aimed?(request: HostileRequest): HostileRequest
}

/** Sends hostile requests, some at a time. @returns what is wrong with the answers, how many there were of each status, and which share of the operations succeeded */
export async function bombard(origin: string, { random, document, count, targets, aimed = request => request }: Bombardment) {
  const faults: string[] = []
  const statuses: Record<number, number> = {}
  const reached = new Set<string>()

  async function one(request: HostileRequest, i: number): Promise<void> {
    const beganMs = performance.now()
    const judged = await ask(origin, request).catch((thrown: Error) => thrown)
    if (judged instanceof Error) {
      faults.push(`${i}: ${judged.message} after ${Math.round(performance.now() - beganMs)} ms: ${shown(request)}`)
      return
    }
    statuses[judged.status] = (statuses[judged.status] ?? 0) + 1
    if (request.operation && judged.status < 300) reached.add(request.operation.operationId)
    const why = fault(document, request, judged)
    if (why !== undefined) faults.push(`${i}: ${why}: ${shown(request)} → ${judged.status} ${judged.text.slice(0, 300)}`)
  }

  for (let i = 0; i < count; i += atATime) {
    const aims = await targets(i)
    const requests = Array.from({ length: atATime }, () => aimed(generate(random, { document, ...aims })))
    await Promise.all(requests.map((request, at) => one(request, i + at)))
  }
  const operations = Object.values(document.paths).flatMap(item => Object.values(item))
  return { faults, statuses, reached: reached.size / operations.length }
}

async function ask(origin: string, { method, path, headers, body }: HostileRequest): Promise<Judged> {
  const response = await fetch(`${origin}${path}`, {
    ...{ method, headers, redirect: 'manual', signal: AbortSignal.timeout(answerLimitMs) },
    ...(body !== undefined && { body }),
  })
  return { status: response.status, headers: response.headers, text: await textOf(response) }
}

const shown = ({ method, path, headers, body }: HostileRequest) =>
  `${method} ${path.slice(0, 300)} ${JSON.stringify(headers).slice(0, 300)} ${typeof body === 'string' ? body.slice(0, 300) : (body?.toHex() ?? '')}`
