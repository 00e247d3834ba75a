import type { Mail } from '@/core/mailer'
import type { UserRow } from './schema'

/**
 * What users are written, by purpose. Of what they chose themselves it holds the username only: until an address is verified, whoever
 * signed up may have given somebody else's, and a nickname is long enough for words of their own.
 */
export const messages: Record<'welcome', (user: Pick<UserRow, 'username'>) => Pick<Mail, 'subject' | 'text'>> = {
  welcome: ({ username }) => ({
    subject: 'Welcome',
    text: `Hello ${username},\n\nyour account is ready.\n`,
  }),
}
