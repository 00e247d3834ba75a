import { roles } from '@roles'
import { bizOf, portsNeeded } from '@/core/module'
import { refuseIdleTasks } from '@/core/role'
import { auditedSchedules } from '@/core/schedule/audited'
import { overlaps, scheduleDefaults } from '@/core/schedule/schedule'
import type { OpenSchedules } from '@/infra/schedule/open'
import { auditEvent } from '@/modules/audit-event'
import { type Arguments, type Flags, usage } from './arguments'
import { type Command, configOf } from './command'
import { commandLineActor } from './command-line'
import { withOpened } from './opened'
import { checkDelete, create, pause, remove, resume, run, update } from './schedule-change'
import { type ScheduleRun, saidIn } from './schedule-definition'
import { list, preview, previewMax, show, ticks } from './schedule-look'
import { count } from './task-run'

const flags: Flags = {
  cron: {
    value: 'EXPRESSION',
    summary: "When: minute, hour, day of month, month and day of week, as '30 2 * * *', or six fields with seconds first, or @daily.",
  },
  'time-zone': { value: 'ZONE', summary: `In which these hold, by its IANA name; ${scheduleDefaults.timeZone} when it is not said.` },
  task: { value: 'NAME', summary: 'The task that is enqueued.' },
  payload: { value: 'JSON', summary: 'What the task is to work on; {} when it is not said.' },
  overlap: {
    value: 'RULE',
    summary: `While the task of an earlier tick has not ended: ${overlaps.join(', ')}; ${scheduleDefaults.overlap} when it is not said.`,
  },
  'catch-up': {
    value: 'RULE',
    summary: `What is fired late of ticks that were missed: none, latest, or all:COUNT; ${scheduleDefaults.catchUp} when it is not said.`,
  },
  'catch-up-window': {
    value: 'TIME',
    summary: 'What was missed longer ago is not fired any more: 90s, 15m, 2h or 7d; 1d when it is not said.',
  },
  jitter: { value: 'TIME', summary: 'Each tick is fired up to so much later, as 30s; 0s when it is not said.' },
  name: { value: 'NAME', summary: 'update: what it is called from now on.' },
  count: { value: 'COUNT', summary: 'preview: so many ticks, 1–1000; 5 when it is not said.' },
  limit: { value: 'COUNT', summary: 'list, ticks: at most so many; 50 when it is not said.' },
  yes: { summary: 'create, update, delete: without asking.' },
}

interface Action {
  /** What stands after its name, as the usage says it. */
  takes: string
  flags: readonly string[]
  act(run: ScheduleRun): Promise<number>
  least: number
  most: number
  check?(args: Arguments, rest: readonly string[]): void
}

const definition = ['cron', 'time-zone', 'task', 'payload', 'overlap', 'catch-up', 'catch-up-window', 'jitter'] as const
const actions: Record<string, Action> = {
  list: { takes: '', flags: ['limit'], act: list, least: 0, most: 0 },
  show: { takes: 'NAME', flags: [], act: show, least: 1, most: 1 },
  create: { takes: 'NAME', flags: [...definition, 'yes'], act: create, least: 1, most: 1, check: needsAll },
  update: { takes: 'NAME', flags: [...definition, 'name', 'yes'], act: update, least: 1, most: 1, check: needsOne },
  delete: { takes: 'NAME…', flags: ['yes'], act: remove, least: 1, most: 100, check: checkDelete },
  run: { takes: 'NAME…', flags: [], act: run, least: 1, most: 100 },
  pause: { takes: 'NAME…', flags: [], act: pause, least: 1, most: 100 },
  resume: { takes: 'NAME…', flags: [], act: resume, least: 1, most: 100 },
  ticks: { takes: 'NAME', flags: ['limit'], act: ticks, least: 1, most: 1 },
  preview: { takes: 'NAME', flags: [...definition, 'name', 'count'], act: preview, least: 1, most: 1 },
}
const names = Object.keys(actions)

export const scheduleCommand: Command = {
  name: 'schedule',
  usage: `${names.join('|')} [--json]`,
  summary: 'Shows schedules and what became of their ticks; makes, changes, pauses, runs and deletes them. NAME is a name or an id.',
  flags,
  examples: [
    [
      `bingo schedule create users.nightly --cron '30 2 * * *' --time-zone Europe/Berlin --task user.export`,
      'shows the next ticks and asks',
    ],
    [`bingo schedule preview users.nightly --cron '0 */6 * * *'`, 'when it would be fired if it were changed so'],
    [`bingo schedule update users.nightly --catch-up none --yes`, 'takes effect everywhere within two seconds'],
    ['bingo schedule pause users.nightly', 'its ticks pass by until it is resumed'],
    ['bingo schedule run users.nightly', 'now, besides its ticks'],
    ['bingo schedule ticks users.nightly', 'what became of them, the newest first'],
    ['bingo schedule list --json', 'one JSON object a line'],
  ],
  async run(args) {
    refuseIdleTasks(roles)
    const [, name = '', ...rest] = args.words
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (!action) throw usage(`bingo schedule takes ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`)
    if (rest.length < action.least || rest.length > action.most)
      throw usage(action.takes ? `bingo schedule ${name} takes ${action.takes}` : `bingo schedule ${name} takes no more words`)
    if (rest.includes('')) throw usage('the name of a schedule is not empty')
    const odd = Object.keys(args.flags).find(flag => !action.flags.includes(flag))
    if (odd !== undefined)
      throw usage(
        `bingo schedule ${name} has no flag --${odd}${action.flags.length > 0 ? `; it has ${action.flags.map(flag => `--${flag}`).join(', ')}` : ''}`,
      )
    const said = saidIn(args)
    if (args.flags['limit'] !== undefined) count(args, 'limit', 1)
    if (args.flags['count'] !== undefined) count(args, 'count', 1, previewMax)
    action.check?.(args, rest)
    const { config } = configOf(args)
    return withOpened(config, ['schedules', ...portsNeeded([auditEvent])], ({ schedules, ports }) => {
      const told = { audit: bizOf({ auditEvent }, ports).auditEvent, by: commandLineActor() }
      return action.act({ args, rest, said, schedules: auditedSchedules((schedules as OpenSchedules).admin, told) })
    })
  },
}

function needsAll({ flags: { cron, task } }: Arguments): void {
  if (cron === undefined || task === undefined) throw usage('bingo schedule create needs --cron=EXPRESSION and --task=NAME')
}

function needsOne({ flags: said }: Arguments): void {
  if (!Object.keys(said).some(flag => flag !== 'yes'))
    throw usage(`bingo schedule update needs what is to change: ${[...definition, 'name'].map(flag => `--${flag}`).join(', ')}`)
}
