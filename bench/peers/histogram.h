/* Latencies in log-linear histograms.
 *
 * Each power of two of nanoseconds has 128 buckets. The middle of a bucket is reported, so the
 * error is below 0.4 %. The buckets cover all of 64 bits, so that no latency is too long. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKET_BITS 7
#define BUCKETS (65 << BUCKET_BITS)

struct histogram {
    uint64_t buckets[BUCKETS], count, max_ns;
};

static inline size_t bucket_of(uint64_t ns)
{
    if (ns < (1u << BUCKET_BITS))
        return (size_t)ns; /* exact, as each value has its own bucket */
    int shift = 63 - __builtin_clzll(ns) - BUCKET_BITS;
    return ((size_t)(shift + 1) << BUCKET_BITS) + (size_t)(ns >> shift) - (1u << BUCKET_BITS);
}

static inline double middle_of(size_t bucket)
{
    if (bucket < (1u << BUCKET_BITS))
        return (double)bucket;
    int shift = (int)(bucket >> BUCKET_BITS) - 1;
    double low = (double)((1u << BUCKET_BITS) + bucket % (1u << BUCKET_BITS));
    return ldexp(low + 0.5, shift);
}

static inline void record_latency(struct histogram *histogram, uint64_t ns)
{
    histogram->buckets[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

/* Returns microseconds, or 0 if there is no sample. */
static inline double percentile_us(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->count), seen = 0;
    for (size_t i = 0; i < BUCKETS && histogram->count > 0; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0)
            return fmin(middle_of(i), (double)histogram->max_ns) / 1000;
    }
    return 0;
}

#endif
