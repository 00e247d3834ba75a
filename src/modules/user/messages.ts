import type { Mail } from '@/core/mailer'
import type { Purpose, UserRow } from './schema'

/**
 * What a message is made of. Of what users chose themselves it holds the username only: until an address is verified, whoever signed up
 * may have given somebody else's, and a nickname is long enough for words of their own.
 */
export interface Contents extends Pick<UserRow, 'username'> {
  /** What the reader proves to have, by a code that the message brings. */
  proof: string
  /** How long that is good for. */
  minutes: number
}

type Words = (contents: Contents) => Pick<Mail, 'subject' | 'text'>

/** What users are written, by purpose. */
export const messages: Record<Purpose, Words> = {
  welcome: ({ username, proof }) => ({
    subject: 'Welcome',
    text: `Hello ${username},\n\nyour account is ready. Please confirm that this is your address:\n\n${proof}\n\n${notYou.address}`,
  }),
  invitation: ({ username, proof, minutes }) => ({
    subject: 'An account was made for you',
    text: `Hello ${username},\n\nan account was made for you. Choose its password within ${minutes} minutes:\n\n${proof}\n\nAfter that, have another code sent to this address, with "forgot password".\n\n${notYou.address}`,
  }),
  verifyEmail: ({ username, proof }) => ({
    subject: 'Confirm your e-mail address',
    text: `Hello ${username},\n\nplease confirm that this is your address:\n\n${proof}\n\n${notYou.address}`,
  }),
  resetPassword: ({ username, proof, minutes }) => ({
    subject: 'Choose a new password',
    text: `Hello ${username},\n\nsomebody, hopefully you, has asked for a new password. Choose one within ${minutes} minutes:\n\n${proof}\n\nIf it was not you, do nothing: without this message the password stays as it is.\n`,
  }),
  passwordChanged: ({ username }) => ({
    subject: 'Your password was changed',
    text: `Hello ${username},\n\nthe password of your account was changed.\n\n${notYou.password}`,
  }),
  passwordReset: ({ username }) => ({
    subject: 'Your password was changed',
    text: `Hello ${username},\n\nthe password of your account was changed with a code that we sent to this address. You are logged out everywhere. API keys that you had made are deleted: make new ones for the programs that need them.\n\n${notYou.password}`,
  }),
  emailChanged: () => ({
    subject: 'Your e-mail address was changed',
    text: 'Hello,\n\nyour account has another e-mail address now, and messages will go there. This is the last one to this address.\n\nIf it was not you, ask us for help at once.\n',
  }),
  apiKeyMade: ({ username }) => ({
    subject: 'An API key was made',
    text: `Hello ${username},\n\na new API key can act for your account.\n\nIf it was not you, delete it and change your password at once.\n`,
  }),
  chatLinked: ({ username }) => ({
    subject: 'A chat account was linked to your account',
    text: `Hello ${username},\n\na chat account was linked to your account with a code that somebody has made who knows your password. What is sent to our bot from there is done for you.\n\nIf it was not you, ask for a new password at once, with "forgot password", which ends the link, too.\n`,
  }),
  accountDeleted: () => ({
    subject: 'Your account was deleted',
    text: 'Hello,\n\nthe account that had this e-mail address was deleted, with all that belonged to it. This is the last message about it.\n\nIf it was not you, ask us for help at once.\n',
  }),
}

const notYou = {
  address: 'If you know nothing of this account, do nothing: somebody has mistaken your address for theirs.\n',
  password: 'If it was not you, ask for a new password at once, with "forgot password".\n',
}

/** What the codes of messages are good for. */
export const codeOf: { [P in Purpose]?: keyof typeof pages } = {
  welcome: 'verifyEmail',
  invitation: 'resetPassword',
  verifyEmail: 'verifyEmail',
  resetPassword: 'resetPassword',
}

/** Pages of the site that links lead to. */
const pages = { verifyEmail: 'verify-email', resetPassword: 'reset-password' }

/**
 * How to use a code. In a link it stands behind the `#`, which browsers keep to themselves: it is in no log of a server, and in no `Referer`.
 * @param siteUrl where links lead; without it only the code is named
 */
export const proofOf = (code: string, purpose: keyof typeof pages, siteUrl: string | undefined): string =>
  siteUrl === undefined ? `Code: ${code}` : `${siteUrl.replace(/\/$/, '')}/${pages[purpose]}#${code}\n\nor, by hand, the code: ${code}`
