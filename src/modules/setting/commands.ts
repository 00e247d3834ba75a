import { admin } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Maintenance } from '@/core/live-settings'
import { Input, OneOf, Type } from '@/core/schema'
import type { SettingBiz } from './biz'

export const settingCommands = (biz: SettingBiz): AnyCommand[] => [
  defineCommand({
    name: 'maintenance',
    summary: 'Close the API server for maintenance, or open it again',
    args: Input({
      state: OneOf(['on', 'off'], { description: 'on closes it.' }),
      message: Type.Optional({
        ...Maintenance.properties.message,
        description: 'What callers are told, in one line of up to 500 characters.',
      }),
    }),
    access: [admin('settings:write', { isDangerous: true })],
    async run({ state, message }, { asking }) {
      // What was said the last time is not said again by itself.
      const maintenance = state === 'on' ? { isOn: true, message: message ?? null } : { isOn: false }
      await biz.change({ maintenance }, {}, asking)
      return state === 'on' ? 'The API server is closed for maintenance within two seconds.' : 'The API server is open within two seconds.'
    },
  }),
]
