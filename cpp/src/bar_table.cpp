#include "klineagg/bar_table.hpp"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <type_traits>

namespace klineagg {

namespace {

constexpr std::size_t CACHE_LINE = 64;
constexpr std::size_t PAGE = 4096;

std::size_t aligned(std::size_t bytes) { return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE; }

/// The distance of 8-byte columns. Were it a multiple of the page size, one row of all columns
/// would compete for the few lines of one cache set, and every write would evict another.
std::size_t column_distance(std::size_t rows) {
    const std::size_t bytes = aligned(rows * 8);
    constexpr std::size_t wanted = 5 * CACHE_LINE;
    return (bytes + (wanted + PAGE - bytes % PAGE) % PAGE) / 8;
}

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

/// As std::fill, past the caches where it fills whole lines.
template <class Value>
void stream_fill(Value* to, Value* const end, Value value) noexcept {
#ifdef __SSE2__
    for (; to != end && reinterpret_cast<std::uintptr_t>(to) % sizeof(__m128i) != 0; ++to) *to = value;
    constexpr std::ptrdiff_t step = sizeof(__m128i) / sizeof(Value);
    __m128i pattern;
    if constexpr (sizeof(Value) == 4) pattern = _mm_set1_epi32(value);
    else pattern = _mm_set1_epi16(value);
    for (; end - to >= step; to += step) _mm_stream_si128(reinterpret_cast<__m128i*>(to), pattern);
#endif
    std::fill(to, end, value);
}

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

}  // namespace

void write_rows(const BarColumns& to, std::int64_t row, const PartialBar* bars, std::size_t count,
                double close_before) noexcept {
    const std::size_t distance = 8 * to.stride;
    const PartialBar* const end = bars + count;
    while (bars != end) {
        auto* const place = reinterpret_cast<unsigned char*>(to.open_time + row);
        const auto in_line = reinterpret_cast<std::uintptr_t>(place) % CACHE_LINE / 8;
        const std::size_t rows =
            std::min(ROWS_PER_LINE - in_line, static_cast<std::size_t>(end - bars));
        bool plain = true;
        for (std::size_t i = 0; i < rows; ++i) plain &= is_plain(bars[i]);
        if (!plain) [[unlikely]] {
            for (std::size_t i = 0; i < rows; ++i) {
                const PartialBar one = rounded(bars[i], close_before);
                write_plain(place + 8 * i, distance, &one, PlainStore{1});
                close_before = one.close;
            }
        } else if (rows == ROWS_PER_LINE) {
            write_plain(place, distance, bars, LineStore{});
        } else {
            write_plain(place, distance, bars, PlainStore{rows});
        }
        if (bars[rows - 1].has_close()) close_before = bars[rows - 1].close;
        for (std::size_t i = 0; i < rows; ++i, ++row) {
            to.flags[row] = bars[i].flags;
            // add_series has filled these two with 1 and 0: only the rare is written.
            if (bars[i].run_length != 1) [[unlikely]] to.run_length[row] = bars[i].run_length;
            if (bars[i].revision != 0) [[unlikely]] to.revision[row] = bars[i].revision;
        }
        bars += rows;
    }
}

void publish_rows() noexcept {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

BarTable::BarTable(std::int64_t rows, bool with_partials, ArenaKind kind) : rows_(rows) {
    const auto count = static_cast<std::size_t>(rows);
    columns_.stride = column_distance(count);
    std::size_t bytes = 0;
    const auto place = [&](auto*& column, std::size_t size) {
        using Value = std::remove_reference_t<decltype(*column)>;
        // As numbers: when only the size is asked for there is no memory yet to point into.
        column = reinterpret_cast<Value*>(reinterpret_cast<std::uintptr_t>(arena_.data()) + bytes);
        bytes += aligned(size);
    };
    const auto place_all = [&] {
        bytes = 0;
        if (with_partials) place(columns_.partials, count * sizeof(PartialBar));
#define KLINEAGG_PLACE(type, name) \
    if (sizeof(type) == 8) place(columns_.name, columns_.stride * 8);
        KLINEAGG_BAR_COLUMNS(KLINEAGG_PLACE)
#undef KLINEAGG_PLACE
#define KLINEAGG_PLACE(type, name) \
    if (sizeof(type) != 8) place(columns_.name, count * sizeof(type));
        KLINEAGG_BAR_COLUMNS(KLINEAGG_PLACE)
#undef KLINEAGG_PLACE
    };
    place_all();  // once for the size, once for the addresses
    arena_ = Arena(bytes, kind);
    place_all();
}

void BarTable::fill_series(std::int64_t begin, std::int64_t end) const noexcept {
    auto each = std::partition_point(series_.begin(), series_.end(), [&](const BarSeries& series) {
        return series.end <= begin;
    });
    for (; each != series_.end() && each->begin < end; ++each) {
        const std::int64_t from = std::max(begin, each->begin);
        const std::int64_t to = std::min(end, each->end);
        stream_fill(columns_.symbol + from, columns_.symbol + to, each->symbol);
        stream_fill(columns_.interval + from, columns_.interval + to, each->interval);
    }
    stream_fill(columns_.run_length + begin, columns_.run_length + end, 1);
    stream_fill(columns_.revision + begin, columns_.revision + end, 0);
}

PartialBar flat_bar(Span range, std::int64_t bars, std::uint16_t flags) noexcept {
    PartialBar bar;
    bar.open_time = range.open;
    bar.close_time = range.close;
    bar.run_length = run_length_of(bars);
    bar.flags = flags;
    return bar;
}

}  // namespace klineagg
