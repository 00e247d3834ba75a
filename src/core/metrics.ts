/**
 * Counts and times what a process does. Names are Prometheus names in base units (`_seconds`, `_bytes`, `_total`); label values
 * come from small closed sets (a route template, never a path or a user).
 */
export interface Metrics {
  /** Asking twice for one name gives the same counter: the servers of a process share theirs. */
  counter<const L extends string>(spec: MetricSpec<L>): Counter<L>
  histogram<const L extends string>(spec: MetricSpec<L> & { buckets: readonly number[] }): Histogram<L>
  /**
   * A value read when it is asked for; of undefined there is no series. Asking twice for one name and labels shows the sum of what both read.
   * @returns what ends this reading; the name stays
   */
  gauge(spec: MetricSpec<never>, read: () => number | undefined): () => void
  gauge<const L extends string>(spec: MetricSpec<L>, read: () => number | undefined, labels: Record<L, string>): () => void
  /** The text that Prometheus scrapes, and its content type. */
  expose(): Promise<{ text: string; contentType: string }>
}

export interface MetricSpec<L extends string> {
  name: string
  help: string
  labels?: readonly L[]
}
/** One series of a counter. Keep it where the labels are known ahead: looking a series up costs more than counting. */
export interface Counter<L extends string> {
  with(labels: Record<L, string>): { add(by?: number): void }
}
export interface Histogram<L extends string> {
  with(labels: Record<L, string>): { observe(value: number): void }
}
