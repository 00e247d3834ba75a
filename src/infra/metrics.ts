import { collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import type { Metrics, MetricSpec } from '@/core/metrics'
import { createCounter, type OwnCounter } from './counter'
import { createHistogram, type OwnHistogram } from './histogram'

interface Reading {
  read(): number | undefined
  labels: Record<string, string>
}

/** Metrics kept by prom-client, with those of the runtime itself: memory, garbage collection, event loop lag. */
export function createMetrics(build: { version: string; roles: readonly string[] }): Metrics {
  const registry = new Registry()
  const counters = new Map<string, OwnCounter>()
  const histograms = new Map<string, OwnHistogram>()
  const gauges = new Map<string, Set<Reading>>()
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
    gauge({ name, help, labels: labelNames = [] }: MetricSpec<string>, read: Reading['read'], labels: Reading['labels'] = {}) {
      const known = gauges.get(name)
      const readings = known ?? new Set()
      // An object of its own, so that a function that is given twice counts twice.
      const reading: Reading = { read, labels }
      readings.add(reading)
      if (!known) {
        gauges.set(name, readings)
        new Gauge({
          name,
          help,
          labelNames,
          registers: [registry],
          collect() {
            this.reset()
            if (labelNames.length === 0) this.set(0)
            for (const { labels: own, read: value } of readings) {
              const now = value()
              if (now !== undefined) this.inc(own, now)
            }
          },
        })
      }
      return () => void readings.delete(reading)
    },
    expose: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  }
}
