import type { Role } from '@/core/role'
import { admin } from './admin'
import { api } from './api'
import { bot } from './bot'
import { scheduler } from './scheduler'

/** Every role, in the order in which `all` starts them. */
export const roles: readonly Role[] = [api, admin, scheduler, bot]
