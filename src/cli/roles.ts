import { roles } from '@roles'
import type { Role } from '@/core/role'
import { usage } from './arguments'
import type { Command } from './command'

export const rolesCommand: Command = {
  name: 'roles',
  usage: '[--json]',
  summary: 'Lists the roles and what each serves.',
  async run({ switches }) {
    const list = roles.map(({ name, summary, modules, serves, works = {}, firesSchedules = false }) => ({
      name,
      summary,
      modules: modules.map(module => module.name),
      serves,
      works: Object.keys(works),
      firesSchedules,
    }))
    const named = (what: string, names: readonly string[]) => (names.length > 0 ? ` ${what}: ${names.join(', ')}.` : '')
    const lines = list.map(
      ({ name, summary, modules, works }) => `${name.padEnd(10)} ${summary}${named('Modules', modules)}${named('Queues', works)}`,
    )
    console.log(switches.has('json') ? JSON.stringify(list, null, 2) : lines.join('\n'))
    return 0
  },
}

/** `api,scheduler` or `all` as roles, in the order named. @throws StartError with exit code 64 */
export function rolesNamed(text: string): Role[] {
  const names = text.split(',').map(name => name.trim())
  if (names.includes('all')) return [...roles]
  return [...new Set(names)].map(name => {
    const role = roles.find(candidate => candidate.name === name)
    if (!role) throw usage(`there is no role ${JSON.stringify(name)}; roles are ${roles.map(r => r.name).join(', ')} and all`)
    return role
  })
}
