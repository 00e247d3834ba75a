import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Metrics } from '@/core/metrics'

/** Metrics kept by prom-client, with those of the runtime itself: memory, garbage collection, event loop lag. */
export function createMetrics(build: { version: string; roles: readonly string[] }): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'bingo_build_info',
    help: 'The version and roles of this process; always 1.',
    labelNames: ['version', 'roles'],
    registers: [registry],
  }).set({ version: build.version, roles: build.roles.join(',') }, 1)

  return {
    counter({ name, help, labels = [] }) {
      const counter =
        (registry.getSingleMetric(name) as Counter | undefined) ??
        new Counter({ name, help, labelNames: [...labels], registers: [registry] })
      return {
        with: values => {
          const series = counter.labels(values)
          return { add: (by = 1) => series.inc(by) }
        },
      }
    },
    histogram({ name, help, labels = [], buckets }) {
      const histogram =
        (registry.getSingleMetric(name) as Histogram | undefined) ??
        new Histogram({ name, help, labelNames: [...labels], buckets: [...buckets], registers: [registry] })
      return {
        with: values => {
          const series = histogram.labels(values)
          return { observe: value => series.observe(value) }
        },
      }
    },
    gauge({ name, help }, read) {
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read())
        },
      })
    },
    expose: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  }
}
