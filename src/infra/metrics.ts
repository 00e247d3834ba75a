import { collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import type { Metrics } from '@/core/metrics'
import { createCounter, type OwnCounter } from './counter'
import { createHistogram, type OwnHistogram } from './histogram'

/** Metrics kept by prom-client, with those of the runtime itself: memory, garbage collection, event loop lag. */
export function createMetrics(build: { version: string; roles: readonly string[] }): Metrics {
  const registry = new Registry()
  const counters = new Map<string, OwnCounter>()
  const histograms = new Map<string, OwnHistogram>()
  const gauges = new Map<string, Set<() => number>>()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'bingo_build_info',
    help: 'The version and roles of this process; always 1.',
    labelNames: ['version', 'roles'],
    registers: [registry],
  }).set({ version: build.version, roles: build.roles.join(',') }, 1)

  return {
    counter(spec) {
      let counter = counters.get(spec.name)
      if (!counter) {
        counter = createCounter(spec)
        counters.set(spec.name, counter)
        registry.registerMetric(counter as unknown as Metric)
      }
      return counter
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
      const known = gauges.get(name)
      const readers = known ?? new Set()
      // A function of its own, so that one that is given twice counts twice.
      const reader = () => read()
      readers.add(reader)
      if (!known) {
        gauges.set(name, readers)
        new Gauge({
          name,
          help,
          registers: [registry],
          collect() {
            let sum = 0
            for (const each of readers) sum += each()
            this.set(sum)
          },
        })
      }
      return () => void readers.delete(reader)
    },
    expose: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  }
}
