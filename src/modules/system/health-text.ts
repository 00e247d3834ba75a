import type { ProcessView } from '@/core/processes'
import type { System } from './schema'

/** What runs, as it is said in a chat. */

/** For everybody: which roles have somebody who is alive. @param roles all that there are */
export function rolesText(roles: readonly string[], processes: readonly Pick<ProcessView, 'roles' | 'isAlive'>[]): string {
  const alive = new Set(processes.filter(({ isAlive }) => isAlive).flatMap(process => process.roles))
  return [
    roles.every(role => alive.has(role)) ? 'Everything runs.' : 'Not everything runs.',
    ...roles.map(role => `${role}: ${alive.has(role) ? 'runs' : 'does not run'}`),
  ].join('\n')
}

/** For those who operate it: each process, and what the one that answers works with. */
export function processesText(roles: readonly string[], { processes = [], dependencies }: System, nowMs: number): string {
  return [
    rolesText(roles, processes),
    '',
    ...processes.map(({ roles: own, host, pid, version, startedAt, seenAt, isAlive }) =>
      [
        `${own.join('+')} on ${host} (process ${pid}), version ${version}`,
        isAlive ? `up ${ageText(nowMs - Date.parse(startedAt))}` : `dead, seen ${ageText(nowMs - Date.parse(seenAt))} ago`,
      ].join(': '),
    ),
    '',
    ...dependencies.map(({ name, isReady, latencyMs, error }) =>
      isReady ? `${name}: there, ${Math.round(latencyMs)} ms` : `${name}: not there${error === undefined ? '' : ` (${error})`}`,
    ),
  ].join('\n')
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
] as const

/** `3 h`: in the largest unit of which there is one. */
function ageText(ms: number): string {
  for (const [unit, unitMs] of units) if (ms >= unitMs) return `${Math.floor(ms / unitMs)} ${unit}`
  return `${Math.max(0, Math.floor(ms / 1000))} s`
}
