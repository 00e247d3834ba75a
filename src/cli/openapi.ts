import { documentOf, unopened } from '@/http-faces'
import { usage } from './arguments'
import { type Command, configOf } from './command'
import { rolesNamed } from './roles'
import { version } from './version'

export const openapiCommand: Command = {
  name: 'openapi',
  usage: '--role=api|admin',
  summary: 'Prints the OpenAPI document of a role.',
  async run(args) {
    const [role] = rolesNamed(configOf(args).config.role ?? 'api')
    const document = role && (await documentOf(role, unopened, version))
    if (!document) throw usage(`the role ${role?.name} has no OpenAPI document; api and admin have one`)
    console.log(JSON.stringify(document, null, 2))
    return 0
  },
}
