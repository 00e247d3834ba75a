import type { AnyCommand } from './command'
import type { ChatReceiver } from './chat'
import type { Controller } from './controller'
import type { DenialWitness } from './denial'
import { StartError } from './error'
import type { Identifier } from './identity'
import type { Permission } from './permission'
import type { PortName, Ports } from './ports'
import type { RpcFace } from './rpc'
import type { AnyTask, TaskHandler } from './queue/task'
import type { AnySchedule } from './schedule/schedule'
import type { AnyTable } from './table'
import { type Topic, topicProblem } from './topic'

/** The ways a module can be reached. A role serves the ones it names; the others are never started. */
export interface Faces {
  /** Under `/api/v1` on the API server. */
  api?: Controller
  /** Under `/admin/v1` on the admin server. */
  admin?: Controller
  /** Under `/bot` on the bot server. */
  bot?: Controller
  /** On the gRPC server. */
  rpc?: readonly RpcFace[]
  /** What people do with the bot, whatever the platform. */
  commands?: readonly AnyCommand[]
  /** Where what chat platforms send goes. One module of a role has it. */
  chat?: ChatReceiver
  /** What does the tasks of the module, in whichever role works their queues. */
  tasks?: readonly TaskHandler[]
  /** What is enqueued at the ticks of a clock, by whichever role fires schedules. */
  schedules?: readonly AnySchedule[]
  /** How callers are recognized, by the server that they call: a server takes the credentials of the modules that its role names. */
  identifiers?: Partial<Record<FaceName, Identifier>>
  /** What is told of those who are known and are refused, by the server that they call. */
  denials?: Partial<Record<FaceName, DenialWitness>>
}
/** The faces that are servers. */
export type FaceName = HttpFaceName | 'rpc'
export type HttpFaceName = 'api' | 'admin' | 'bot'

// biome-ignore lint/suspicious/noExplicitAny: a list of modules holds modules of every type
export type AnyModule = Module<any, any, any>
type Uses = Record<string, AnyModule>
// biome-ignore lint/suspicious/noExplicitAny: as above
type BizOf<U extends Uses> = { [K in keyof U]: U[K] extends Module<infer B, any, any> ? B : never }

/** A feature folder, on one screen: what it needs, whom it calls, how it is reached. */
export interface Module<Biz, N extends PortName, U extends Uses> {
  readonly name: string
  /** Ports this module uses. Asking `create` for one that is not listed is a compile error. */
  readonly needs: readonly N[]
  /** Neighbors whose biz this one calls. The import that names them is the dependency graph. */
  readonly uses?: U
  /** Tables whose rows it keeps, so that a database can be compared with them and migrations be made. */
  readonly tables?: readonly AnyTable[]
  /** What administrators need at its routes: a route cannot ask for a permission that no module declares. */
  readonly permissions?: readonly Permission[]
  /** The actions that it writes into the audit log, so that it is known what can be in it: see `AuditLog`. */
  readonly audits?: readonly string[]
  /** What chats can subscribe to: an announcement cannot be of a topic that no module declares. */
  readonly topics?: readonly Topic[]
  /** Tasks that its `tasks` face handles: what may be enqueued is known before anything is wired. */
  readonly tasks?: readonly AnyTask[]
  /** Wires the module. Does nothing else: no I/O, no timers. */
  create(ports: Pick<Ports, N>, neighbors: BizOf<U>): { biz: Biz; faces: Faces }
}

export const defineModule = <Biz, const N extends PortName, const U extends Uses = Record<never, never>>(
  module: Module<Biz, N, U>,
): Module<Biz, N, U> => module

/** The modules named and all they use, each once, the used before the user. A circle is an error that names it. */
export function withUsed(modules: readonly AnyModule[]): AnyModule[] {
  const found = new Set<AnyModule>()
  const visit = (module: AnyModule, path: readonly AnyModule[]) => {
    if (found.has(module)) return
    if (path.includes(module)) {
      throw new Error(`modules use each other in a circle: ${[...path, module].map(m => m.name).join(' → ')}`)
    }
    for (const used of Object.values((module.uses ?? {}) as Uses)) visit(used, [...path, module])
    found.add(module)
  }
  for (const module of modules) visit(module, [])
  return [...found]
}

/** The ports that these modules, and those they use, need. */
export const portsNeeded = (modules: readonly AnyModule[]): Set<PortName> => new Set(withUsed(modules).flatMap(module => [...module.needs]))

/** The tables of these modules and of those they use. */
export const tablesDeclared = (modules: readonly AnyModule[]): AnyTable[] => withUsed(modules).flatMap(module => [...(module.tables ?? [])])

/**
 * The permissions of these modules and of those they use, by name.
 * @throws StartError when two modules declare the same
 */
export const permissionsDeclared = (modules: readonly AnyModule[]): Permission[] =>
  namedOnce('permission', modules, ({ permissions = [] }) => permissions)

/**
 * The topics of these modules and of those they use, by name.
 * @throws StartError when two modules declare the same, and when one is not as it must be
 */
export function topicsDeclared(modules: readonly AnyModule[]): Topic[] {
  const topics = namedOnce('topic', modules, ({ topics = [] }) => topics)
  for (const topic of topics) {
    const problem = topicProblem(topic)
    if (problem !== undefined) throw new StartError(`the topic ${JSON.stringify(topic.name)} ${problem}`)
  }
  return topics
}

function namedOnce<T extends { readonly name: string }>(
  noun: string,
  modules: readonly AnyModule[],
  declared: (module: AnyModule) => readonly T[],
): T[] {
  const byName = new Map<string, { module: string; thing: T }>()
  for (const module of withUsed(modules))
    for (const thing of declared(module)) {
      const other = byName.get(thing.name)
      if (other)
        throw new StartError(`the modules ${other.module} and ${module.name} both declare the ${noun} ${thing.name}; leave it to one`)
      byName.set(thing.name, { module: module.name, thing })
    }
  return [...byName.values()].map(({ thing }) => thing).toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The actions that these modules, and those they use, write into the audit log. Some are written by several. */
export const auditsDeclared = (modules: readonly AnyModule[]): string[] =>
  [...new Set(withUsed(modules).flatMap(({ audits = [] }) => audits))].toSorted()

/**
 * The tasks of these modules and of those they use.
 * @throws StartError when two have one name, since what waits is found by its name, and one would be run as the other
 */
export function tasksDeclared(modules: readonly AnyModule[]): AnyTask[] {
  const declared = withUsed(modules).flatMap(({ name, tasks = [] }) => tasks.map(task => ({ module: name, task })))
  const byName = new Map<string, string>()
  for (const { module, task } of declared) {
    const other = byName.get(task.name)
    if (other !== undefined)
      throw new StartError(`the modules ${other} and ${module} both declare a task ${task.name}; give one of them another name`)
    byName.set(task.name, module)
  }
  return declared.map(({ task }) => task)
}

/** Builds each module once, after the ones it uses. @returns the faces of all of them, also of those that are only used */
export const buildModules = (modules: readonly AnyModule[], ports: Ports): Map<AnyModule, Faces> =>
  new Map([...built(modules, ports)].map(([module, { faces }]) => [module, faces]))

/** The biz of these modules, built as for the servers, by the names that they are given here: for who has no use for their faces. */
export function bizOf<U extends Uses>(modules: U, ports: Ports): BizOf<U> {
  const all = built(Object.values(modules), ports)
  return Object.fromEntries(Object.entries(modules).map(([name, module]) => [name, all.get(module)?.biz])) as BizOf<U>
}

function built(modules: readonly AnyModule[], ports: Ports): Map<AnyModule, { biz: unknown; faces: Faces }> {
  const all = new Map<AnyModule, { biz: unknown; faces: Faces }>()
  for (const module of withUsed(modules)) {
    const uses = Object.entries((module.uses ?? {}) as Uses)
    const made = module.create(ports, Object.fromEntries(uses.map(([name, used]) => [name, all.get(used)?.biz])))
    refuseUnhandled(module, made.faces)
    all.set(module, made)
  }
  return all
}

function refuseUnhandled({ name, tasks = [] }: AnyModule, faces: Faces): void {
  const handled = (faces.tasks ?? []).map(({ task }) => task)
  const odd = [...tasks, ...handled].find(task => !(tasks.includes(task) && handled.includes(task)))
  if (odd) throw new StartError(`the module ${name} must both list the task ${odd.name} in \`tasks\` and handle it in its face \`tasks\``)
  for (const { task, isOfGroups } of faces.tasks ?? []) {
    if (isOfGroups === (task.rules.group !== undefined)) continue
    const remedy = isOfGroups ? 'handle it with handle, or declare it with a rule for groups' : 'handle it with handleGroup'
    throw new StartError(`the task ${task.name} of the module ${name} ${isOfGroups ? 'has no' : 'has a'} rule for groups: ${remedy}`)
  }
}
