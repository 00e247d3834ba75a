import { processesMax } from '@/core/processes'
import { type Of, Timestamp, Type } from '@/core/schema'

/** The installation as those who operate it see it: which processes run, and whether what this one works with is there. */

const closed = { additionalProperties: false } as const

export const Process = Type.Object(
  {
    id: Type.String({ description: 'New with each start.' }),
    roles: Type.Array(Type.String(), { description: 'What it was started as.', examples: [['api', 'admin']] }),
    version: Type.String({ description: 'Of the executable.' }),
    host: Type.String({ description: 'Its machine or container.' }),
    pid: Type.Integer({ minimum: 0, description: 'Its number there.' }),
    startedAt: Timestamp('When it was started, by the clock of the database.'),
    seenAt: Timestamp('When it last said that it is there.'),
    isAlive: Type.Boolean({
      description: 'Whether it has said so within 15 seconds. One that was stopped is not listed; one that crashed is for a day.',
    }),
  },
  closed,
)
export type Process = Of<typeof Process>

export const Dependency = Type.Object(
  {
    name: Type.String({ description: 'What.', examples: ['database'] }),
    isReady: Type.Boolean({ description: 'Whether it answers as it should.' }),
    latencyMs: Type.Number({ minimum: 0, description: 'How long that took.' }),
    error: Type.Optional(Type.String({ description: 'Why not, as a code; the log of the process says more.', examples: ['ECONNREFUSED'] })),
  },
  closed,
)
export type Dependency = Of<typeof Dependency>

export const System = Type.Object(
  {
    version: Type.String({ description: 'Of the process that answers.' }),
    processId: Type.String({ description: 'Which of the processes answers.' }),
    processes: Type.Optional(
      Type.Array(Process, {
        description: `All that share its database, those of a role together; at most ${processesMax}. Absent while the database cannot be asked.`,
      }),
    ),
    dependencies: Type.Array(Dependency, { description: 'What the process that answers works with.' }),
  },
  closed,
)
export type System = Of<typeof System>
