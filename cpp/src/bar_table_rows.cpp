// Bars become rows, a cache line of every column at a time.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "klineagg/bar_table.hpp"
#include "klineagg/detail/prefetch.hpp"
#include "klineagg/detail/transpose.hpp"

namespace klineagg {

namespace {

using detail::CACHE_LINE;

constexpr std::size_t ROWS_PER_LINE = CACHE_LINE / 8;

/// Writes one value after the other to where they belong.
struct PlainStore {
    std::size_t count;  // at most ROWS_PER_LINE

    template <class ValueOf>
    void operator()(unsigned char* place, ValueOf&& value_of) const {
        for (std::size_t i = 0; i < count; ++i) {
            // Columns of int64 and of float64 share one block: bytes, not types, are copied.
            const auto value = value_of(i);
            static_assert(sizeof value == 8);
            std::memcpy(place + 8 * i, &value, 8);
        }
    }
};

/// Writes a whole cache line past the caches: nobody reads rows soon, and a line that is written
/// whole need not be read first.
struct LineStore {
    template <class ValueOf>
    void operator()(unsigned char* place, ValueOf&& value_of) const {
#ifdef __SSE2__
        for (std::size_t i = 0; i < ROWS_PER_LINE; i += 2) {
            const auto first = std::bit_cast<std::int64_t>(value_of(i));
            const auto second = std::bit_cast<std::int64_t>(value_of(i + 1));
            _mm_stream_si128(reinterpret_cast<__m128i*>(place + 8 * i),
                             _mm_set_epi64x(second, first));
        }
#else
        PlainStore{ROWS_PER_LINE}(place, value_of);
#endif
    }
};

/// The rows of bars whose prices are all there and inside [low, high], with pair sums only.
template <class Store>
void write_plain(unsigned char* place, std::size_t distance, const PartialBar* bars, Store store) {
    const auto write = [&](auto&& value_of) {
        store(place, [&](std::size_t i) { return value_of(bars[i]); });
        place += distance;
    };
    write([](const PartialBar& bar) { return bar.open_time; });
    write([](const PartialBar& bar) { return bar.close_time; });
    write([](const PartialBar& bar) { return bar.open; });
    write([](const PartialBar& bar) { return bar.high; });
    write([](const PartialBar& bar) { return bar.low; });
    write([](const PartialBar& bar) { return bar.close; });
    write([](const PartialBar& bar) { return bar.sums.hi[VOLUME] + bar.sums.lo[VOLUME]; });
    write([](const PartialBar& bar) {
        return bar.sums.hi[QUOTE_VOLUME] + bar.sums.lo[QUOTE_VOLUME];
    });
    write([](const PartialBar& bar) { return bar.trade_count; });
    write([](const PartialBar& bar) {
        return bar.sums.hi[TAKER_BUY_VOLUME] + bar.sums.lo[TAKER_BUY_VOLUME];
    });
    write([](const PartialBar& bar) {
        return bar.sums.hi[TAKER_BUY_QUOTE] + bar.sums.lo[TAKER_BUY_QUOTE];
    });
    write([](const PartialBar& bar) { return bar.first.id; });
    write([](const PartialBar& bar) { return bar.last_id; });
    write([](const PartialBar& bar) { return bar.first.time; });
    write([](const PartialBar& bar) { return bar.last_time; });
}

bool is_plain(const PartialBar& bar) {
    return bar.sum_form == SumForm::pair && bar.low <= bar.open && bar.open <= bar.high &&
           bar.low <= bar.close && bar.close <= bar.high;  // false for a NaN
}

/// The bar as it is read: rounded, as pair sums that are their own rounding.
PartialBar rounded(const PartialBar& bar, double close_before) {
    PartialBar row = bar;
    const Ohlc prices = round_prices(bar, close_before);
    row.open = prices.open;
    row.high = prices.high;
    row.low = prices.low;
    row.close = prices.close;
    round_sums(bar, row.sums.hi);
    for (double& low : row.sums.lo) low = 0.0;
    return row;
}

#if defined(__x86_64__)
#define KLINEAGG_PLACE(type, name) AT_##name,
enum ColumnPlace : std::size_t { KLINEAGG_BAR_COLUMNS(KLINEAGG_PLACE) };
#undef KLINEAGG_PLACE

/// A cache line of every column, of eight bars. Half a line of a bar is one vector, and of four
/// bars four columns.
struct WideLine {
    using Columns = __m256d[2][4];

    unsigned char* place;
    std::size_t distance;
    const PartialBar* bars;

    [[gnu::target("avx2"), gnu::always_inline]] __m256d at(std::size_t bar,
                                                           std::size_t offset) const noexcept {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(bars + bar) + offset;
        return _mm256_load_pd(reinterpret_cast<const double*>(bytes));
    }
    [[gnu::target("avx2"), gnu::always_inline]] void load(Columns& to,
                                                          std::size_t offset) const noexcept {
        for (std::size_t half = 0; half < 2; ++half) {
            for (std::size_t i = 0; i < 4; ++i) to[half][i] = at(4 * half + i, offset);
            detail::transpose(to[half]);
        }
    }
    [[gnu::target("avx2"), gnu::always_inline]] void load_sums(Columns& to) const noexcept {
        constexpr std::size_t HI = offsetof(PartialBar, sums) + offsetof(SumPairs, hi);
        constexpr std::size_t LO = offsetof(PartialBar, sums) + offsetof(SumPairs, lo);
        for (std::size_t half = 0; half < 2; ++half) {
            for (std::size_t i = 0; i < 4; ++i)
                to[half][i] = _mm256_add_pd(at(4 * half + i, HI), at(4 * half + i, LO));
            detail::transpose(to[half]);
        }
    }
    [[gnu::target("avx2"), gnu::always_inline]] void store(ColumnPlace column, const Columns& from,
                                                           std::size_t which) const noexcept {
        auto* const to = reinterpret_cast<double*>(place + (column - AT_open_time) * distance);
        _mm256_stream_pd(to, from[0][which]);
        _mm256_stream_pd(to + 4, from[1][which]);
    }
};

/// write_plain of eight bars that have pair sums; false, with nothing written, when prices of one
/// are not there or not inside [low, high].
[[gnu::target("avx2")]] bool write_wide_line(const WideLine& line) noexcept {
    WideLine::Columns prices, begins;  // close_time, high, low, close; open_time, open, first
    line.load(prices, offsetof(PartialBar, close_time));
    line.load(begins, offsetof(PartialBar, open_time));
    __m256d inside = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
    for (std::size_t half = 0; half < 2; ++half) {
        const __m256d high = prices[half][1], low = prices[half][2];
        for (const __m256d& price : {begins[half][1], prices[half][3]}) {
            inside = _mm256_and_pd(inside, _mm256_cmp_pd(low, price, _CMP_LE_OQ));
            inside = _mm256_and_pd(inside, _mm256_cmp_pd(price, high, _CMP_LE_OQ));
        }
    }
    if (_mm256_movemask_pd(inside) != 0b1111) [[unlikely]] return false;
    line.store(AT_open_time, begins, 0);
    line.store(AT_close_time, prices, 0);
    line.store(AT_open, begins, 1);
    line.store(AT_high, prices, 1);
    line.store(AT_low, prices, 2);
    line.store(AT_close, prices, 3);
    line.store(AT_first_trade_time, begins, 2);
    line.store(AT_first_trade_id, begins, 3);
    WideLine::Columns sums, lasts;  // as SumLane; last_time, last_key_id, last_id, trade_count
    line.load_sums(sums);
    line.store(AT_volume, sums, VOLUME);
    line.store(AT_quote_volume, sums, QUOTE_VOLUME);
    line.store(AT_taker_buy_volume, sums, TAKER_BUY_VOLUME);
    line.store(AT_taker_buy_quote_volume, sums, TAKER_BUY_QUOTE);
    line.load(lasts, offsetof(PartialBar, last_time));
    line.store(AT_last_trade_time, lasts, 0);
    line.store(AT_last_trade_id, lasts, 2);
    line.store(AT_trade_count, lasts, 3);
    return true;
}
#endif

/// Writes the rows of plain bars; false, with nothing written, when one is not.
struct PortableRows {
    static bool write(unsigned char* place, std::size_t distance, const PartialBar* bars,
                      std::size_t count) noexcept {
        bool plain = true;
        for (std::size_t i = 0; i < count; ++i) plain &= is_plain(bars[i]);
        if (!plain) [[unlikely]] return false;
        if (count == ROWS_PER_LINE) write_plain(place, distance, bars, LineStore{});
        else write_plain(place, distance, bars, PlainStore{count});
        return true;
    }
};

#if defined(__x86_64__)
struct WideRows {
    static bool write(unsigned char* place, std::size_t distance, const PartialBar* bars,
                      std::size_t count) noexcept {
        if (count != ROWS_PER_LINE) return PortableRows::write(place, distance, bars, count);
        int forms = 0;
        for (std::size_t i = 0; i < ROWS_PER_LINE; ++i) forms |= static_cast<int>(bars[i].sum_form);
        static_assert(static_cast<int>(SumForm::pair) == 0);
        return forms == 0 && write_wide_line({place, distance, bars});
    }
};
#endif

template <class Rows>
void write_rows_by(const BarColumns& to, std::int64_t row, const PartialBar* bars,
                   std::size_t count, double close_before) noexcept {
    const std::size_t distance = 8 * to.stride;
    const PartialBar* const end = bars + count;
    while (bars != end) {
        auto* const place = reinterpret_cast<unsigned char*>(to.open_time + row);
        const auto in_line = reinterpret_cast<std::uintptr_t>(place) % CACHE_LINE / 8;
        const std::size_t rows =
            std::min(ROWS_PER_LINE - in_line, static_cast<std::size_t>(end - bars));
        if (!Rows::write(place, distance, bars, rows)) [[unlikely]] {
            for (std::size_t i = 0; i < rows; ++i) {
                const PartialBar one = rounded(bars[i], close_before);
                write_plain(place + 8 * i, distance, &one, PlainStore{1});
                close_before = one.close;
            }
        }
        if (bars[rows - 1].has_close()) close_before = bars[rows - 1].close;
        for (std::size_t i = 0; i < rows; ++i, ++row) {
            to.flags[row] = bars[i].flags;
            // add_series has filled these two with 1 and 0: only the rare is written.
            if (((bars[i].run_length - 1) | bars[i].revision) != 0) [[unlikely]] {
                to.run_length[row] = bars[i].run_length;
                to.revision[row] = bars[i].revision;
            }
        }
        bars += rows;
    }
}

}  // namespace

void write_rows_portably(const BarColumns& to, std::int64_t row, const PartialBar* bars,
                         std::size_t count, double close_before) noexcept {
    write_rows_by<PortableRows>(to, row, bars, count, close_before);
}

void write_rows(const BarColumns& to, std::int64_t row, const PartialBar* bars, std::size_t count,
                double close_before) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) [[likely]] {
        write_rows_by<WideRows>(to, row, bars, count, close_before);
        return;
    }
#endif
    write_rows_portably(to, row, bars, count, close_before);
}

void prefetch_rows(const BarColumns& to, std::int64_t row, std::size_t count) noexcept {
    std::uintptr_t asked = 0;
    for (const std::int64_t edge : {row, row + static_cast<std::int64_t>(count)}) {
        const auto* place = reinterpret_cast<const unsigned char*>(to.open_time + edge);
        const auto line = reinterpret_cast<std::uintptr_t>(place) / CACHE_LINE;
        if (reinterpret_cast<std::uintptr_t>(place) % CACHE_LINE == 0 || line == asked) continue;
        for (std::size_t column = 0; column < EIGHT_BYTE_COLUMNS; ++column, place += 8 * to.stride)
            __builtin_prefetch(place, 1);
        __builtin_prefetch(to.flags + edge, 1);
        asked = line;
    }
}

void publish_rows() noexcept {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

}  // namespace klineagg
