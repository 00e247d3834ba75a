import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import type { Metrics } from '@/core/metrics'
import { createHistogram, type OwnHistogram } from './histogram'

/** Metrics kept by prom-client, with those of the runtime itself: memory, garbage collection, event loop lag. */
export function createMetrics(build: { version: string; roles: readonly string[] }): Metrics {
  const registry = new Registry()
  const histograms = new Map<string, OwnHistogram>()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'bingo_build_info',
    help: 'The version and roles of this process; always 1.',
    labelNames: ['version', 'roles'],
    registers: [registry],
  }).set({ version: build.version, roles: build.roles.join(',') }, 1)

  return {
    counter({ name, help, labels = [] }) {
      const known = registry.getSingleMetric(name) as Counter | undefined
      const counter = known ?? new Counter({ name, help, labelNames: [...labels], registers: [registry] })
      return {
        with: values => {
          const series = counter.labels(values)
          return { add: (by = 1) => series.inc(by) }
        },
      }
    },
    histogram(spec) {
      let histogram = histograms.get(spec.name)
      if (!histogram) {
        histogram = createHistogram(spec)
        histograms.set(spec.name, histogram)
        registry.registerMetric(histogram as unknown as Metric)
      }
      return histogram
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
