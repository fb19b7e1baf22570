#include "klineagg/bar_table.hpp"

#include <algorithm>
#include <limits>
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

}  // namespace

BarTable::BarTable(std::int64_t rows, bool with_partials) : rows_(rows) {
    const auto count = static_cast<std::size_t>(rows);
    columns_.stride = column_distance(count);
    std::size_t bytes = 0;
    const auto place = [&](auto*& column, std::size_t size) {
        using Value = std::remove_reference_t<decltype(*column)>;
        column = reinterpret_cast<Value*>(arena_.data() + bytes);
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
    arena_ = Arena(bytes);
    place_all();
}

void BarTable::add_series(const BarSeries& series) {
    series_.push_back(series);
    std::fill(columns_.symbol + series.begin, columns_.symbol + series.end, series.symbol);
    std::fill(columns_.interval + series.begin, columns_.interval + series.end, series.interval);
    std::fill(columns_.run_length + series.begin, columns_.run_length + series.end, 1);
    std::fill(columns_.revision + series.begin, columns_.revision + series.end, 0);
}

PartialBar flat_bar(Span range, std::int64_t bars, std::uint16_t flags) noexcept {
    constexpr std::int64_t run_max = std::numeric_limits<std::int32_t>::max();
    PartialBar bar;
    bar.open_time = range.open;
    bar.close_time = range.close;
    bar.run_length = static_cast<std::int32_t>(std::min(bars, run_max));  // a day has 86,400
    bar.flags = flags;
    return bar;
}

}  // namespace klineagg
