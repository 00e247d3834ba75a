import { defineErrors } from './error'
import type { Expected } from './store'

const etagErrors = defineErrors({
  TooManyTags: ['InvalidArgument', 'If-Match lists too many tags; send the one that you have seen.'],
})
/** Each number of tags is a statement of its own for the database. */
const tagsMax = 8

/** Answers with what has a version, as its entity tag (RFC 9110 §8.8.3): strong, since one version is one representation. */
export function tagged<T extends { version: number }>(answer: T, set: { headers: Record<string, unknown> }): T {
  set.headers['etag'] = `"${answer.version}"`
  return answer
}

/**
 * What an `If-Match` header asks of a row (RFC 9110 §13.1.1): one of the versions it lists, or any when there is no header or
 * it says `*`. No row has a tag that is not ours.
 */
export function expectedBy(ifMatch: string | undefined): Expected {
  if (ifMatch === undefined || ifMatch.trim() === '*') return {}
  if (ifMatch.split(',').length > tagsMax) throw etagErrors.TooManyTags()
  const versions = ifMatch.split(',').flatMap(tag => {
    const version = /^"([1-9]\d{0,14})"$/.exec(tag.trim())?.[1]
    return version ? [Number(version)] : []
  })
  return { versions }
}
