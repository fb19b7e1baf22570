// Shared by the tests of the core: random trades, rows that can be compared, slow exact sums.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "klineagg/bar_table.hpp"
#include "klineagg/error.hpp"

namespace klineagg::test {

using Rng = std::mt19937_64;

/// Any of 0 ... count - 1.
inline std::size_t pick(Rng& rng, std::size_t count) { return rng() % count; }
inline std::int64_t between(Rng& rng, std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(high - low + 1));
}
inline bool chance(Rng& rng, unsigned percent) { return rng() % 100 < percent; }

/// Midnight of 2024-02-28, a Wednesday: a leap day, a month's end and a Monday are near.
inline constexpr TimeNs WEDNESDAY = 19'781 * NS_PER_DAY;

/// A sum held as one counter for each power of two: slow, and too simple to be wrong.
class BitSum {
public:
    void add(double amount) {
        if (amount == 0.0) return;
        int exponent = 0;
        const double fraction = std::frexp(std::fabs(amount), &exponent);
        auto bits = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
        for (auto place = static_cast<std::size_t>(exponent - 53 + LOWEST); bits != 0; ++place) {
            if ((bits & 1U) != 0) {
                counters_.at(place) += amount < 0.0 ? -1 : 1;
                begin_ = std::min(begin_, place);
                end_ = std::max(end_, place + CARRIES);
            }
            bits >>= 1U;
        }
    }

    /// Half way rounds to even. Zero is +0.0.
    [[nodiscard]] double rounded() const {
        std::array<bool, SIZE> bits{};
        const bool negative = carry(1, bits) != 0;
        if (negative && carry(-1, bits) != 0) throw std::logic_error("a sum beyond its counters");
        std::size_t top = end_;
        while (top > begin_ && !bits[top - 1]) --top;
        if (top <= begin_) return 0.0;
        const std::size_t lowest = top > 53 ? top - 53 : 0;  // the last bit that is kept
        std::uint64_t mantissa = 0;
        for (std::size_t i = top; i-- > lowest;) mantissa = mantissa * 2 + (bits[i] ? 1 : 0);
        if (lowest > 0 && bits[lowest - 1]) {
            bool above_half = false;
            for (std::size_t i = begin_; i + 1 < lowest; ++i) above_half = above_half || bits[i];
            if (above_half || mantissa % 2 == 1) ++mantissa;
        }
        const double value =
            std::ldexp(static_cast<double>(mantissa), static_cast<int>(lowest) - LOWEST);
        return negative ? -value : value;
    }

private:
    static constexpr int LOWEST = 160;  // 2^-160 ...
    static constexpr std::size_t SIZE = 400;
    static constexpr std::size_t CARRIES = 64;  // 2^63 trades carry no further

    /// The counters, times `sign`, as binary digits. What is carried out is not 0 when they are
    /// below zero.
    std::int64_t carry(std::int64_t sign, std::array<bool, SIZE>& bits) const {
        std::int64_t carried = 0;
        for (std::size_t i = begin_; i < end_; ++i) {
            const std::int64_t total = sign * counters_.at(i) + carried;
            bits[i] = total % 2 != 0;
            carried = (total - (bits[i] ? 1 : 0)) / 2;
        }
        return carried;
    }

    std::array<std::int64_t, SIZE> counters_{};
    std::size_t begin_ = SIZE;  // of the counters that matter
    std::size_t end_ = 0;
};

inline bool same_bits(double a, double b) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// A row of the result. Equal means equal bits, so that NaN equals NaN and 0.0 not -0.0.
struct Row {
    TimeNs open_time = TIME_NONE;
    TimeNs close_time = TIME_NONE;
    double open = NO_PRICE;
    double high = NO_PRICE;
    double low = NO_PRICE;
    double close = NO_PRICE;
    double sums[SUM_LANES] = {0, 0, 0, 0};
    std::int64_t trade_count = 0;
    TradeKey first{};
    TradeKey last{};
    std::int64_t run_length = 1;
    std::int32_t revision = 0;
    unsigned flags = 0;

    [[nodiscard]] auto key() const {
        const auto bits = [](double value) { return std::bit_cast<std::uint64_t>(value); };
        return std::tuple(open_time, close_time, bits(open), bits(high), bits(low), bits(close),
                          bits(sums[0]), bits(sums[1]), bits(sums[2]), bits(sums[3]), trade_count,
                          first, last, run_length, revision, flags);
    }
    friend bool operator==(const Row& a, const Row& b) { return a.key() == b.key(); }
    friend std::ostream& operator<<(std::ostream& out, const Row& row) {
        out.precision(17);
        out << "\n[" << row.open_time << ", " << row.close_time << ") ohlc " << row.open << ' '
            << row.high << ' ' << row.low << ' ' << row.close << " sums";
        for (const double sum : row.sums) out << ' ' << sum;
        return out << " count " << row.trade_count << " ids " << row.first.id << ".." << row.last.id
                   << " times " << row.first.time << ".." << row.last.time << " run "
                   << row.run_length << " rev " << row.revision << " flags " << row.flags;
    }
};
using Rows = std::vector<Row>;

inline Row row_of(const PartialBar& bar, double previous_close) {
    const Ohlc prices = round_prices(bar, previous_close);
    Row row{bar.open_time, bar.close_time, prices.open, prices.high, prices.low, prices.close};
    round_sums(bar, row.sums);
    row.trade_count = bar.trade_count;
    row.first = bar.first;
    row.last = {bar.last_time, bar.last_id};
    row.run_length = bar.run_length;
    row.revision = bar.revision;
    row.flags = bar.flags;
    return row;
}

inline Row row_of(const BarTable& table, std::int64_t index) {
    const BarColumns& at = table.columns();
    Row row{at.open_time[index], at.close_time[index], at.open[index],
            at.high[index],      at.low[index],        at.close[index]};
    row.sums[VOLUME] = at.volume[index];
    row.sums[QUOTE_VOLUME] = at.quote_volume[index];
    row.sums[TAKER_BUY_VOLUME] = at.taker_buy_volume[index];
    row.sums[TAKER_BUY_QUOTE] = at.taker_buy_quote_volume[index];
    row.trade_count = at.trade_count[index];
    row.first = {at.first_trade_time[index], at.first_trade_id[index]};
    row.last = {at.last_trade_time[index], at.last_trade_id[index]};
    row.run_length = at.run_length[index];
    row.revision = at.revision[index];
    row.flags = at.flags[index];
    return row;
}

/// Equal in every byte, which is what partial records promise once they are canonical.
inline bool same_bytes(const PartialBar& a, const PartialBar& b) {
    PartialBar copies[2] = {a, b};
    for (PartialBar& copy : copies) canonicalize(copy);
    return std::memcmp(&copies[0], &copies[1], sizeof a) == 0;
}

struct TradeMix {
    bool ids = true;
    bool aggregated = false;
    bool flags = false;
    bool wild_amounts = false;  // any magnitude: most bars need wide sums
    unsigned long_gaps = 1;     // percent of steps of hours or days
};

inline double wild_amount(Rng& rng) {
    return std::ldexp(1.0 + static_cast<double>(rng() >> 12U) * 0x1p-52,
                      static_cast<int>(between(rng, -45, 45)));
}

/// Trades in order of (time, id): sweeps at one stamp, quiet minutes, now and then days.
inline std::vector<Trade> random_trades(Rng& rng, std::size_t count, const TradeMix& mix,
                                        TimeNs start = WEDNESDAY) {
    std::vector<Trade> trades;
    TimeNs time = start + between(rng, 0, 2 * NS_PER_DAY);
    std::int64_t next_id = 100;
    for (std::size_t i = 0; i < count; ++i) {
        if (chance(rng, mix.long_gaps)) time += between(rng, NS_PER_HOUR, 60 * NS_PER_HOUR);
        else if (chance(rng, 8)) time += between(rng, 0, 20 * NS_PER_MINUTE);
        else if (chance(rng, 50)) time += between(rng, 0, 2 * NS_PER_SECOND);
        else if (chance(rng, 30)) time = floor_to(time, NS_PER_SECOND) + NS_PER_SECOND;
        Trade trade;
        trade.time = time;
        trade.price = static_cast<double>(between(rng, 9'900, 10'100)) / 100.0;
        trade.quantity = static_cast<double>(between(rng, 1, 5'000)) / 1'000.0;
        if (mix.wild_amounts) trade.price = wild_amount(rng);
        if (mix.wild_amounts) trade.quantity = wild_amount(rng);
        if (mix.ids) {
            trade.id = trade.last_id = next_id;
            if (mix.aggregated) trade.last_id += between(rng, 0, 4);
            next_id = trade.last_id + 1;
        }
        trade.taker_buy = chance(rng, 45);
        if (mix.flags && chance(rng, 40)) trade.flags = static_cast<std::uint8_t>(pick(rng, 8));
        trades.push_back(trade);
    }
    return trades;
}

template <class Call>
Error error_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error;
    }
    return {ErrorCode::internal, "nothing was thrown"};
}

inline std::string field_of(const Error& error, const std::string& key) {
    for (const auto& [name, value] : error.fields()) {
        if (name == key) return value;
    }
    return "(no field " + key + ")";
}

}  // namespace klineagg::test
