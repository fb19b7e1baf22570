#include "klineagg/engine/metrics.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg::engine;
using klineagg::test::Rng;

TEST_CASE("what two threads write lies on lines of their own", "[engine][metrics]") {
    STATIC_REQUIRE(sizeof(Counter) == 128);
    STATIC_REQUIRE(alignof(Counter) == 128);
    STATIC_REQUIRE(alignof(CounterSet<3>) == 128);
    STATIC_REQUIRE(sizeof(Histogram) < 20 * 1024);
}

TEST_CASE("buckets follow each other without a hole", "[engine][metrics]") {
    REQUIRE(histogram_bucket(0) == 0);
    REQUIRE(histogram_bucket(-5) == 0);
    std::size_t last = 0;
    for (std::int64_t value = 1; value < 1'000'000; ++value) {
        const std::size_t bucket = histogram_bucket(value);
        REQUIRE((bucket == last || bucket == last + 1));
        last = bucket;
    }
    CHECK(histogram_bucket(HISTOGRAM_MAX_NS) == HISTOGRAM_BUCKETS - 1);
    CHECK(histogram_bucket(HISTOGRAM_MAX_NS + 1) == HISTOGRAM_BUCKETS - 1);
    CHECK(histogram_bucket(INT64_MAX) == HISTOGRAM_BUCKETS - 1);
}

TEST_CASE("every value is within one percent of its bucket's", "[engine][metrics]") {
    Rng random(11);
    double worst = 0.0;
    for (int i = 0; i < 200'000; ++i) {
        const auto exact =
            static_cast<std::int64_t>(std::exp2(static_cast<double>(random() % 41'000) / 1e3));
        const auto value = std::min(exact, HISTOGRAM_MAX_NS);
        const double shown = histogram_value(histogram_bucket(value));
        worst = std::max(worst, std::abs(shown / static_cast<double>(value) - 1.0));
    }
    CHECK(worst <= 0.01);
    CHECK(worst > 0.005);  // else the table is larger than it needs to be
}

TEST_CASE("percentiles are those of the sorted values", "[engine][metrics]") {
    Rng random(12);
    std::vector<std::int64_t> values;
    Histogram histograms[2];
    for (int i = 0; i < 30'000; ++i) {
        const auto value =
            static_cast<std::int64_t>(std::exp2(static_cast<double>(random() % 30'000) / 1e3));
        const std::uint64_t count = 1 + random() % 3;
        histograms[random() % 2].record(value, count);
        values.insert(values.end(), count, value);
    }
    std::sort(values.begin(), values.end());
    HistogramSnapshot merged = histograms[0].read();
    merged.merge(histograms[1].read());
    REQUIRE(merged.count() == values.size());
    CHECK(merged.max() == values.back());
    double sum = 0.0;
    for (const std::int64_t value : values) sum += static_cast<double>(value);
    CHECK(merged.mean() == Approx(sum / static_cast<double>(values.size())).epsilon(1e-12));
    for (const double percent : {0.0, 1.0, 25.0, 50.0, 95.0, 99.0, 99.9, 99.99}) {
        const double rank = std::ceil(percent / 100.0 * static_cast<double>(values.size()));
        const auto place = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
        INFO(percent);
        CHECK(merged.percentile(percent) ==
              Approx(static_cast<double>(values[place])).epsilon(0.01));
    }
    CHECK(merged.percentile(100.0) == static_cast<double>(values.back()));
}

TEST_CASE("an empty histogram has no percentiles, and merging it changes nothing",
          "[engine][metrics]") {
    HistogramSnapshot none;
    CHECK(none.count() == 0);
    CHECK(std::isnan(none.mean()));
    CHECK(std::isnan(none.percentile(50)));
    none.merge(Histogram().read());
    CHECK(std::isnan(none.percentile(50)));
    Histogram one;
    one.record(42);
    HistogramSnapshot snapshot = one.read();
    snapshot.merge(HistogramSnapshot());
    CHECK(snapshot.count() == 1);
    CHECK(snapshot.percentile(50) == 42.0);
    none.merge(snapshot);
    CHECK(none.percentile(0) == 42.0);
}

TEST_CASE("values out of range are kept in the outermost buckets", "[engine][metrics]") {
    Histogram histogram;
    histogram.record(-7);
    CHECK(histogram.read().percentile(50) == 0.0);
    histogram.record(10 * HISTOGRAM_MAX_NS, 2);
    const HistogramSnapshot read = histogram.read();
    CHECK(read.count() == 3);
    CHECK(read.max() == 10 * HISTOGRAM_MAX_NS);
    CHECK(read.percentile(60) == Approx(static_cast<double>(HISTOGRAM_MAX_NS)).epsilon(0.01));
    CHECK(read.percentile(100) == static_cast<double>(10 * HISTOGRAM_MAX_NS));
}

TEST_CASE("counters that change together are read together", "[engine][metrics]") {
    CounterSet<4> counters;
    std::atomic<bool> done{false};
    std::uint64_t torn = 0;
    std::uint64_t reads = 0;
    std::thread reader([&] {
        std::uint64_t last = 0;
        while (!done) {
            std::uint64_t version = 0;
            const auto values = counters.read(&version);
            torn += values[1] != 2 * values[0] || values[2] != values[0] + values[1] ||
                    values[3] != values[0] || version != 2 * values[0] || values[0] < last;
            last = values[0];
            ++reads;
        }
    });
    for (int i = 0; i < 300'000; ++i) {
        counters.update([](auto& values) {
            values[0] += 1;
            values[1] += 2;
            values[2] += 3;
            values[3] += 1;
        });
    }
    done = true;
    reader.join();
    CHECK(torn == 0);
    CHECK(counters.own()[2] == 900'000);
    CHECK(counters.load(2) == 900'000);
}

TEST_CASE("a histogram is read while it is written", "[engine][metrics]") {
    Histogram histogram;
    std::atomic<bool> done{false};
    bool fell = false;
    std::thread reader([&] {
        std::uint64_t last = 0;
        while (!done) {
            const std::uint64_t count = histogram.read().count();
            fell = fell || count < last;
            last = count;
        }
    });
    for (std::int64_t value = 0; value < 100'000; ++value) histogram.record(value);
    done = true;
    reader.join();
    CHECK_FALSE(fell);
    CHECK(histogram.read().count() == 100'000);
    CHECK(histogram.read().mean() == 49'999.5);
}
