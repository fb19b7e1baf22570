#include "klineagg/engine/bar_row.hpp"

#include <cstring>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::BarRow;

TEST_CASE("the row of a flat stretch is that of its bar", "[bar_row]") {
    static_assert(sizeof(BarRow) == 15 * 8 + 4 * 3 + 2 * 2);  // no padding: bytes are compared
    Rng rng(733);
    for (int round = 0; round < 200; ++round) {
        const TimeNs open = WEDNESDAY + between(rng, -1'000'000, 1'000'000) * NS_PER_SECOND;
        const Span range{open, open + between(rng, 1, 90'000) * NS_PER_SECOND};
        const std::int64_t bars =
            chance(rng, 10) ? std::int64_t{1} << 40 : between(rng, 1, 86'400);
        const double price = chance(rng, 20) ? NO_PRICE
                             : chance(rng, 20) ? -0.0
                                               : static_cast<double>(between(rng, -50, 50)) / 8.0;
        const auto flags = static_cast<std::uint16_t>(between(rng, 0, 63));
        const auto revision = static_cast<std::int32_t>(between(rng, 0, 3));
        PartialBar flat = flat_bar(range, bars, flags);
        flat.revision = revision;
        BarRow by_bar;
        engine::fill_row(by_bar, 17, 3, flat, price);
        BarRow direct;
        std::memset(&direct, 0xEE, sizeof direct);
        engine::fill_flat_row(direct, 17, 3, range, bars, price, flags, revision);
        CHECK(std::memcmp(&by_bar, &direct, sizeof direct) == 0);
    }
}
