import { bizOf, portsNeeded } from '@/core/module'
import { auditOutcomes } from '@/core/audit'
import { exitCodes } from '@/core/error'
import { isOfFormat } from '@/core/schema'
import { type AuditEventBiz, auditEvent, type ChainLink, fileFormats, type Verdict } from '@/modules/audit-event'
import { type Arguments, type Flags, usage } from './arguments'
import { type Command, configOf } from './command'
import { commandLineActor } from './command-line'
import { withOpened } from './opened'
import { progressBar } from './progress-bar'

const flags: Flags = {
  head: { value: 'SEQ:HASH', summary: 'verify: an end of the log that was noted before, as hourly lines of the log say it' },
  format: {
    value: fileFormats.join('|'),
    summary: 'export: csv for spreadsheets, with formulas defused; ndjson for programs, exact; csv when absent',
  },
  from: { value: 'INSTANT', summary: 'export: not before it, as 2026-01-31T09:05:00.000Z' },
  to: { value: 'INSTANT', summary: 'export: before it' },
  action: { value: 'ACTION', summary: 'export: only this, such as user.suspend' },
  actor: { value: 'ACTOR', summary: 'export: only what this one has done, such as admin:ID' },
  object: { value: 'OBJECT', summary: 'export: only what was done to this, such as user:ID' },
  outcome: { value: auditOutcomes.join('|'), summary: 'export: only what came to this end' },
}
const filters = ['from', 'to', 'action', 'actor', 'object', 'outcome'] as const
const known = { verify: ['head'], export: ['format', ...filters] } as const

export const auditCommand: Command = {
  name: 'audit',
  usage: 'verify|export',
  summary: 'Tells whether the audit log is as it was written, and gives it out as a file.',
  flags,
  examples: [
    ['bingo audit verify', 'exit code 1 and the first event that is not as it was written; else where the log ends'],
    ['bingo audit verify --head 1042:2rF…', 'also whether it goes on from an end that was noted before'],
    ['bingo audit export --format csv --from 2026-01-01T00:00:00.000Z > january.csv', 'what was done since then, the oldest first'],
  ],
  async run(args) {
    const [, action = '', ...rest] = args.words
    if ((action !== 'verify' && action !== 'export') || rest.length > 0) throw usage('bingo audit takes verify or export')
    const odd = Object.keys(args.flags).find(flag => !(known[action] as readonly string[]).includes(flag))
    if (odd !== undefined) throw usage(`bingo audit ${action} has no flag --${odd}`)
    const work = action === 'verify' ? verifying(args) : exporting(args)
    return withOpened(configOf(args).config, [...portsNeeded([auditEvent])], ({ ports }) => work(bizOf({ auditEvent }, ports).auditEvent))
  },
}

type Work = (audit: AuditEventBiz) => Promise<number>

function verifying({ flags: given, switches }: Arguments): Work {
  const noted = given['head'] === undefined ? undefined : linkOf(given['head'])
  return async audit => {
    const bar = progressBar(undefined)
    const progress = (done: number, total: number) => bar.show(done, `${done} of ${total} events`)
    const verdict = await audit.verify({ ...(noted && { noted }), progress })
    bar.end()
    if (switches.has('json')) console.log(JSON.stringify(verdict))
    else say(verdict, noted)
    return verdict.isWhole ? exitCodes.ok : exitCodes.failed
  }
}

function say(verdict: Verdict, noted: ChainLink | undefined): void {
  if (!verdict.isWhole) {
    console.error(`bingo: the audit log is broken at event ${verdict.seq}: ${verdict.problem}`)
    console.error(
      'What is before it is as it was written. Keep a copy of the database as it is; compare with backups, and with the lines “the head of the audit log” of the log, to see since when; and find out who could write to the database.',
    )
    return
  }
  const { head, events, removedUpTo, begunAt } = verdict
  const removed = removedUpTo > 0 ? `; those up to ${removedUpTo} were removed for their age` : ''
  console.log(`the audit log is whole: ${events} ${events === 1 ? 'event' : 'events'}${removed}`)
  console.log(`it began at ${begunAt}`)
  console.log(`head ${head.seq}:${head.hash}`)
  if (verdict.noted === 'matches') console.log(`it goes on from the head that was noted, ${noted?.seq}`)
  if (verdict.noted === 'older')
    console.error(`bingo: event ${noted?.seq} was removed for its age, so nothing can be said of the head that was noted; note a newer one`)
}

/** @throws StartError with exit code 64 */
function linkOf(text: string): ChainLink {
  const [, seq, hash] = /^(\d{1,15}):([\w-]{43})$/.exec(text) ?? []
  if (seq === undefined || hash === undefined) throw usage('--head is SEQ:HASH, as bingo audit verify prints it')
  return { seq: Number(seq), hash }
}

function exporting({ flags: given }: Arguments): Work {
  const format = oneOf(fileFormats, 'format', given['format'] ?? 'csv')
  for (const name of ['from', 'to'] as const) {
    const instant = given[name]
    if (instant !== undefined && !isOfFormat('date-time', instant)) throw usage(`--${name} is an instant such as 2026-01-31T09:05:00.000Z`)
  }
  if (given['outcome'] !== undefined) oneOf(auditOutcomes, 'outcome', given['outcome'])
  const filter = Object.fromEntries(filters.flatMap(name => (given[name] === undefined ? [] : [[name, given[name]]])))
  return async audit => {
    const { pieces } = await audit.download(format, filter, commandLineActor())
    const out = Bun.stdout.writer()
    for await (const piece of pieces) {
      out.write(piece)
      await out.flush()
    }
    await out.end()
    return exitCodes.ok
  }
}

/** @throws StartError with exit code 64 */
function oneOf<const V extends string>(values: readonly V[], flag: string, given: string): V {
  const found = values.find(value => value === given)
  if (found === undefined) throw usage(`--${flag} is one of ${values.join(', ')}`)
  return found
}
