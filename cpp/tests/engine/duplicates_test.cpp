#include "klineagg/engine/duplicates.hpp"

#include <map>
#include <set>
#include <vector>

#include "catch.hpp"
#include "klineagg/engine/spare_blocks.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::IdCounts;
using engine::SeenIds;

namespace {

Trade with_ids(std::int64_t first, std::int64_t last) {
    Trade trade;
    trade.id = first;
    trade.last_id = last;
    return trade;
}

/// What a set of single ids says.
class Reference {
public:
    bool add(const Trade& trade, std::uint16_t source) {
        if (trade.id < 0) return true;
        std::set<std::int64_t>& seen = seen_[source];
        bool is_new = false;
        const std::int64_t highest = seen.empty() ? -1 : *seen.rbegin();
        for (std::int64_t id = trade.id; id <= trade.last_id; ++id)
            is_new = seen.insert(id).second || is_new;
        if (!is_new) ++counts.duplicates;
        else if (trade.last_id < highest) ++counts.out_of_order;
        else if (highest >= 0 && trade.id > highest + 1) ++counts.gaps;
        return is_new;
    }
    IdCounts counts;

private:
    std::map<std::uint16_t, std::set<std::int64_t>> seen_;
};

}  // namespace

TEST_CASE("seen ids are what a set of ids is", "[duplicates]") {
    Rng rng(601);
    engine::SpareBlocks pool;
    for (int round = 0; round < 150; ++round) {
        SeenIds seen;
        Reference reference;
        IdCounts counts;
        const std::int64_t range = chance(rng, 50) ? 300 : 3'000;
        const std::int64_t length = chance(rng, 50) ? 0 : 5;
        const std::size_t sources = 1 + pick(rng, 3);
        std::int64_t next = 0;
        for (int step = 0; step < 200; ++step) {
            const auto source = static_cast<std::uint16_t>(pick(rng, sources));
            std::vector<Trade> batch;
            const std::size_t rows = 1 + pick(rng, 20);
            if (chance(rng, 50)) next = between(rng, 0, range);
            for (std::size_t row = 0; row < rows; ++row) {
                if (chance(rng, 10)) {
                    batch.push_back({});  // no id
                    continue;
                }
                if (chance(rng, 10)) next = between(rng, 0, range);
                batch.push_back(with_ids(next, next + between(rng, 0, length)));
                next = batch.back().last_id + 1;
            }
            std::vector<std::int64_t> expected;
            for (const Trade& trade : batch)
                if (reference.add(trade, source)) expected.push_back(trade.id);
            Trade* const end =
                seen.filter(batch.data(), batch.data() + batch.size(), source, &pool, counts);
            std::vector<std::int64_t> kept;
            for (const Trade* trade = batch.data(); trade != end; ++trade)
                kept.push_back(trade->id);
            REQUIRE(kept == expected);
        }
        REQUIRE(counts.duplicates == reference.counts.duplicates);
        REQUIRE(counts.out_of_order == reference.counts.out_of_order);
        REQUIRE(counts.gaps == reference.counts.gaps);
        seen.clear(&pool);
    }
}

TEST_CASE("many holes are remembered, too many are bounded", "[duplicates]") {
    engine::SpareBlocks pool;
    SeenIds seen;
    IdCounts counts;
    const auto is_new = [&](std::int64_t id) {
        Trade trade = with_ids(id, id);
        return seen.filter(&trade, &trade + 1, 7, &pool, counts) != &trade;
    };
    constexpr auto MAX = static_cast<std::int64_t>(SeenIds::RANGES_MAX);
    for (std::int64_t id = 0; id < 2 * MAX; id += 2) REQUIRE(is_new(id));
    CHECK(seen.ranges() == SeenIds::RANGES_MAX);
    for (std::int64_t id = 0; id < 2 * MAX; id += 2) REQUIRE_FALSE(is_new(id));
    // A backfill of what is missing leaves one range.
    for (std::int64_t id = 1; id < 2 * MAX; id += 2) REQUIRE(is_new(id));
    CHECK(seen.ranges() == 1);
    for (std::int64_t id = 0; id < 2 * MAX; ++id) REQUIRE_FALSE(is_new(id));
    CHECK(counts.duplicates == 3 * MAX);
    CHECK(counts.out_of_order == MAX - 1);

    for (std::int64_t id = 10 * MAX; id < 16 * MAX; id += 2) REQUIRE(is_new(id));
    CHECK(seen.ranges() <= SeenIds::RANGES_MAX);
    for (std::int64_t id = 15 * MAX; id < 16 * MAX; id += 2) REQUIRE_FALSE(is_new(id));
    CHECK(is_new(5));  // forgotten: never taken for a duplicate by mistake the other way
    seen.clear(&pool);
}
