#include "klineagg/engine/bar_row.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>

#include "klineagg/detail/prefetch.hpp"

namespace klineagg::engine {

using detail::CACHE_LINE;

void write_rows(const BarColumns& to, std::int64_t place, const BarRow* const* rows,
                std::size_t count) noexcept {
    const auto write = [&](auto* column, auto&& value_of) {
        column += place;
        std::size_t i = 0;
#ifdef __SSE2__
        // Past the caches, as all of it is: a line that is written whole need not be read first.
        if constexpr (sizeof *column == 8) {
            for (; i < count && reinterpret_cast<std::uintptr_t>(column + i) % CACHE_LINE != 0; ++i)
                column[i] = value_of(*rows[i]);
            for (; i + CACHE_LINE / 8 <= count; i += CACHE_LINE / 8) {
                for (std::size_t j = i; j < i + CACHE_LINE / 8; j += 2) {
                    const auto first = std::bit_cast<std::int64_t>(value_of(*rows[j]));
                    const auto second = std::bit_cast<std::int64_t>(value_of(*rows[j + 1]));
                    _mm_stream_si128(reinterpret_cast<__m128i*>(column + j),
                                     _mm_set_epi64x(second, first));
                }
            }
        }
#endif
        for (; i < count; ++i) column[i] = value_of(*rows[i]);
    };
    write(to.symbol, [](const BarRow& row) { return row.symbol; });
    write(to.interval, [](const BarRow& row) { return row.interval; });
    write(to.open_time, [](const BarRow& row) { return row.open_time; });
    write(to.close_time, [](const BarRow& row) { return row.close_time; });
    write(to.open, [](const BarRow& row) { return row.prices.open; });
    write(to.high, [](const BarRow& row) { return row.prices.high; });
    write(to.low, [](const BarRow& row) { return row.prices.low; });
    write(to.close, [](const BarRow& row) { return row.prices.close; });
    write(to.volume, [](const BarRow& row) { return row.sums[VOLUME]; });
    write(to.quote_volume, [](const BarRow& row) { return row.sums[QUOTE_VOLUME]; });
    write(to.trade_count, [](const BarRow& row) { return row.trade_count; });
    write(to.taker_buy_volume, [](const BarRow& row) { return row.sums[TAKER_BUY_VOLUME]; });
    write(to.taker_buy_quote_volume, [](const BarRow& row) { return row.sums[TAKER_BUY_QUOTE]; });
    write(to.first_trade_id, [](const BarRow& row) { return row.first_trade_id; });
    write(to.last_trade_id, [](const BarRow& row) { return row.last_trade_id; });
    write(to.first_trade_time, [](const BarRow& row) { return row.first_trade_time; });
    write(to.last_trade_time, [](const BarRow& row) { return row.last_trade_time; });
    write(to.run_length, [](const BarRow& row) { return row.run_length; });
    write(to.revision, [](const BarRow& row) { return row.revision; });
    write(to.flags, [](const BarRow& row) { return row.flags; });
}

}  // namespace klineagg::engine
