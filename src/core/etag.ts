import { defineErrors } from './error'
import type { Expected } from './store'

const etagErrors = defineErrors({
  TooManyTags: ['InvalidArgument', 'If-Match lists too many tags; send the one that you have seen.'],
})
/** Each number of tags is a statement of its own for the database. */
const tagsMax = 8

/** Where an answer's status and headers are set. */
interface Answering {
  status?: unknown
  headers: Record<string, unknown>
}

/**
 * Answers with a row, as its entity tag (RFC 9110 §8.8.3): strong, since the answer is made of the row alone, and one version of it is one
 * representation. The route says so: `sets: ['ETag']`.
 */
export function tagged<T extends { version: number }>(answer: T, set: Answering): T {
  set.headers['etag'] = `"${answer.version}"`
  return answer
}

/**
 * Answers with a row and what belongs to others beside it, such as names and counts: the tag is weak, since that changes while the version
 * of the row does not. It says which version of the row was seen all the same, so `expectedBy` takes it.
 */
export function taggedWeakly<T extends { version: number }>(answer: T, set: Answering): T {
  set.headers['etag'] = `W/"${answer.version}"`
  return answer
}

/** Answers 201 with what was made at this path, and where it is: `sets: ['Location']`. */
export function created<T extends { id: string }>(made: T, set: Answering, route: string): T {
  set.status = 201
  set.headers['location'] = `${route}/${encodeURIComponent(made.id)}`
  return made
}

/**
 * What an `If-Match` header asks of a row (RFC 9110 §13.1.1): one of the versions it lists, or any when there is no header or
 * it says `*`. No row has a tag that is not ours.
 *
 * A weak tag counts as a strong one does, though §13.1.1 has If-Match compare strongly: that keeps from changing what may be another by
 * now, and what is changed here is the row alone, whose version both kinds of tag say exactly. What is shown beside it is not changed.
 */
export function expectedBy(ifMatch: string | undefined): Expected {
  if (ifMatch === undefined || ifMatch.trim() === '*') return {}
  if (ifMatch.split(',').length > tagsMax) throw etagErrors.TooManyTags()
  const versions = ifMatch.split(',').flatMap(tag => {
    const version = /^(?:W\/)?"([1-9]\d{0,14})"$/.exec(tag.trim())?.[1]
    return version ? [Number(version)] : []
  })
  return { versions }
}
