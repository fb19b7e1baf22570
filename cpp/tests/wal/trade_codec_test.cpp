#include "klineagg/wal/trade_codec.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::wal;

namespace {

bool same(const LaneRecord& a, const LaneRecord& b) {
    return a.time == b.time && std::memcmp(&a.price, &b.price, 8) == 0 &&
           std::memcmp(&a.quantity, &b.quantity, 8) == 0 && a.id == b.id &&
           a.more_ids == b.more_ids && a.symbol == b.symbol && a.source == b.source &&
           a.flags == b.flags && a.taker_buy == b.taker_buy;
}

/// Encodes and decodes; returns the bytes that it took.
std::size_t round_trip(TradeEncoder& encoder, const std::vector<LaneRecord>& rows) {
    const Bytes bytes = encoder.encode(rows);
    TradeDecoder decoder;
    std::vector<LaneRecord> back;
    REQUIRE(decoder.decode(bytes, back));
    REQUIRE(back.size() == rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        INFO("row " << i);
        REQUIRE(same(rows[i], back[i]));
    }
    return bytes.size();
}

std::vector<LaneRecord> market(std::size_t count, int symbols, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<LaneRecord> rows(count);
    std::vector<std::int64_t> cents(static_cast<std::size_t>(symbols), 4'200'000);
    std::vector<std::int64_t> ids(static_cast<std::size_t>(symbols), 1'000'000);
    TimeNs time = 1'700'000'000'000'000'000;
    for (LaneRecord& row : rows) {
        const auto symbol =
            static_cast<std::size_t>(random() % static_cast<std::uint64_t>(symbols));
        time += static_cast<TimeNs>(random() % 3) * 1'000'000;
        cents[symbol] += static_cast<std::int64_t>(random() % 21) - 10;
        row.time = time;
        row.price = static_cast<double>(cents[symbol]) / 100.0;
        row.quantity = static_cast<double>(1 + random() % 100'000) / 100'000.0;
        row.id = ids[symbol]++;
        row.symbol = static_cast<std::int32_t>(symbol) * 3;
        row.taker_buy = random() % 2;
    }
    return rows;
}

}  // namespace

TEST_CASE("Trades of a market take few bytes and come back as they were", "[wal]") {
    TradeEncoder encoder;
    const std::size_t bytes = round_trip(encoder, market(4096, 20, 1));
    CHECK(bytes < 4096 * 12);
    CHECK(encoder.new_symbols().size() == 20);
    CHECK(encoder.new_sources() == std::vector<std::uint16_t>{0});
    encoder.forget_new();
    round_trip(encoder, market(4096, 20, 2));
    CHECK(encoder.new_symbols().empty());
    CHECK(encoder.new_sources().empty());
    round_trip(encoder, market(65536, 3000, 3));
    CHECK(encoder.new_symbols().size() == 2980);
}

TEST_CASE("Any bits of a trade come back", "[wal]") {
    std::mt19937_64 random(5);
    const auto bits = [&] { return random() >> (random() % 64); };
    const std::vector<double> special = {0.0,
                                         -0.0,
                                         1.0,
                                         -1.5,
                                         0.1,
                                         1e-7,
                                         123456789.123,
                                         5e-324,
                                         1e300,
                                         -1e300,
                                         std::numeric_limits<double>::infinity(),
                                         -std::numeric_limits<double>::infinity(),
                                         std::numeric_limits<double>::quiet_NaN(),
                                         0x1p46,
                                         0x1p46 - 1,
                                         0x1p-100,
                                         0.1 + 0.2};
    TradeEncoder encoder;
    for (int round = 0; round < 200; ++round) {
        std::vector<LaneRecord> rows(1 + random() % 300);
        const bool only_any = round % 2 == 0;
        for (LaneRecord& row : rows) {
            const auto number = [&] {
                if (random() % 3 == 0) return special[random() % special.size()];
                if (random() % 2 == 0) return static_cast<double>(bits() >> 20U) / 1e4;
                const std::uint64_t any = random();
                double value;
                std::memcpy(&value, &any, 8);
                return value;
            };
            row.time = only_any ? static_cast<TimeNs>(random()) : static_cast<TimeNs>(bits());
            row.price = number();
            row.quantity = number();
            row.id = static_cast<std::int64_t>(bits());
            if (random() % 4 == 0) row.id = NO_TRADE_ID;
            if (random() % 5 == 0) row.more_ids = static_cast<std::uint32_t>(bits());
            row.symbol = static_cast<std::int32_t>(random() % 40) - (random() % 9 == 0 ? 20 : 0);
            row.source = static_cast<std::uint16_t>(random() % 4 == 0 ? random() : 0);
            row.flags = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : 0);
            row.taker_buy = random() % 2;
        }
        round_trip(encoder, rows);
    }
    round_trip(encoder, {});
}

TEST_CASE("Times at both ends of the range come back", "[wal]") {
    std::vector<LaneRecord> rows(6);
    rows[0].time = std::numeric_limits<TimeNs>::max();
    rows[1].time = std::numeric_limits<TimeNs>::min();
    rows[2].time = 0;
    rows[3].time = std::numeric_limits<TimeNs>::min();
    rows[4].time = std::numeric_limits<TimeNs>::max();
    TradeEncoder encoder;
    round_trip(encoder, rows);
}

TEST_CASE("Bytes that are no block of trades are refused", "[wal]") {
    TradeEncoder encoder;
    const Bytes good = encoder.encode(market(50, 5, 9));
    std::vector<std::byte> bytes(good.begin(), good.end());
    TradeDecoder decoder;
    std::vector<LaneRecord> rows;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        rows.clear();
        REQUIRE_FALSE(decoder.decode(Bytes(bytes).first(size), rows));
    }
    std::mt19937_64 random(11);
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::byte> spoiled = bytes;
        for (std::uint64_t i = 0; i <= random() % 4; ++i)
            spoiled[random() % spoiled.size()] = static_cast<std::byte>(random());
        rows.clear();
        (void)decoder.decode(spoiled, rows);  // any rows or none, but no harm
        REQUIRE(rows.size() <= TRADE_BLOCK_ROWS_MAX);
    }
}
