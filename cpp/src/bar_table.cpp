#include "klineagg/bar_table.hpp"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <type_traits>

#include "klineagg/detail/prefetch.hpp"

namespace klineagg {

namespace {

using detail::CACHE_LINE;
constexpr std::size_t PAGE = 4096;

std::size_t aligned(std::size_t bytes) { return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE; }

/// The distance of 8-byte columns. Were it a multiple of the page size, one row of all columns
/// would compete for the few lines of one cache set, and every write would evict another.
std::size_t column_distance(std::size_t rows) {
    const std::size_t bytes = aligned(rows * 8);
    constexpr std::size_t wanted = 5 * CACHE_LINE;
    return (bytes + (wanted + PAGE - bytes % PAGE) % PAGE) / 8;
}

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

}  // namespace

BarTable::BarTable(std::int64_t rows, bool with_partials, ArenaKind kind) : rows_(rows) {
    const auto count = static_cast<std::size_t>(rows);
    columns_.stride = column_distance(count);
    std::size_t bytes = 0;
    const auto place = [&](auto*& column, std::size_t size) {
        using Value = std::remove_reference_t<decltype(*column)>;
        // As numbers: when only the size is asked for there is no memory yet to point into.
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
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
