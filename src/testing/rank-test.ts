/**
 * How likely two samples differ as much as these, or more, when they are of one distribution: the rank-sum test of Mann and Whitney (1947),
 * two-sided, by the normal approximation with ties and continuity corrected. It asks for no distribution, and is not moved by the few
 * samples that a busy machine has made slow.
 * @param one at least 10 values, as the other
 * @returns p, 0–1
 */
export function rankTest(one: readonly number[], other: readonly number[]): number {
  const [n, m] = [one.length, other.length]
  if (n < sampleMin || m < sampleMin) throw new RangeError(`the normal approximation needs samples of ${sampleMin}, not of ${n} and ${m}`)
  const { rankSum, tied } = ranked(one, other)
  const u = rankSum - (n * (n + 1)) / 2
  const mean = (n * m) / 2
  const all = n + m
  const deviation = Math.sqrt(((n * m) / 12) * (all + 1 - tied / (all * (all - 1))))
  // All values are the same.
  if (deviation === 0) return 1
  const z = Math.max(0, Math.abs(u - mean) - 0.5) / deviation
  return Math.min(1, 2 * upperTail(z))
}

const sampleMin = 10

/** The sum of the ranks of `one` among all, values that are the same sharing theirs, and the sum of t³ − t over such groups of t. */
function ranked(one: readonly number[], other: readonly number[]): { rankSum: number; tied: number } {
  const all = [...one.map(value => ({ value, isOne: true })), ...other.map(value => ({ value, isOne: false }))].toSorted(
    (a, b) => a.value - b.value,
  )
  let rankSum = 0
  let tied = 0
  for (let start = 0; start < all.length; ) {
    const value = all[start]?.value
    let end = start
    while (end < all.length && all[end]?.value === value) end++
    const count = end - start
    const rank = (start + 1 + end) / 2
    rankSum += rank * all.slice(start, end).filter(({ isOne }) => isOne).length
    tied += count ** 3 - count
    start = end
  }
  return { rankSum, tied }
}

/** Of the standard normal distribution, by Abramowitz and Stegun 26.2.17: wrong by less than 7.5e-8. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z)
  const sum = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return (Math.exp(-(z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum
}
