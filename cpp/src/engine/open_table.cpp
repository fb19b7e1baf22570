#include "klineagg/engine/open_table.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace klineagg::engine {

namespace {

struct Part {
    std::int32_t symbol;
    std::uint32_t rows;
    std::size_t first;
    const CaptureRows* from;
};

std::vector<Part> parts_by_symbol(std::span<const Capture* const> captures) {
    std::size_t count = 0;
    for (const Capture* capture : captures) count += capture->groups();
    std::vector<Part> parts;
    parts.reserve(count);
    for (const Capture* capture : captures) {
        for (std::size_t i = 0; i < capture->groups(); ++i) {
            const Capture::Group& group = capture->group(i);
            parts.push_back({group.symbol, group.rows, group.first, &capture->rows()});
        }
    }
    const auto before = [](const Part& a, const Part& b) { return a.symbol < b.symbol; };
    // Symbols mostly have their slots in the order of their ids.
    if (!std::is_sorted(parts.begin(), parts.end(), before))
        std::sort(parts.begin(), parts.end(), before);
    return parts;
}

/// The rows of one interval on their way: so many that whole cache lines of columns are written,
/// so few that the rows of all intervals stay in a cache until then.
struct Stream {
    static constexpr std::int64_t ROWS = 64;

    std::array<const BarRow*, ROWS> rows;
    std::size_t size = 0;
    std::int64_t place = 0;     // of the next row
    BarSeries* series = nullptr;  // the next one's place
    std::int32_t symbol = -1;   // of the last one

    void flush(const BarColumns& to) noexcept {
        write_rows(to, place - static_cast<std::int64_t>(size), rows.data(), size);
        size = 0;
    }
    void add(const BarRow& row, const BarColumns& to) {
        if (symbol != row.symbol) {
            *series++ = {row.symbol, row.interval, place, place};
            symbol = row.symbol;
        }
        series[-1].end = ++place;
        rows[size++] = &row;
        // The first time fewer, so that from then on whole lines are filled.
        if (place % ROWS == 0) flush(to);
    }
};

void prefetch(const Part& part) noexcept {
    const auto* const line = reinterpret_cast<const char*>(&part.from->row(part.first));
    for (std::size_t at = 0; at < part.rows * sizeof(BarRow); at += 64)
        __builtin_prefetch(line + at);
}

}  // namespace

BarTable open_table(std::span<const Capture* const> captures, std::size_t intervals,
                    ArenaKind memory) {
    std::vector<std::size_t> counts(intervals, 0);
    std::size_t total = 0;
    for (const Capture* capture : captures) {
        const std::span<const std::size_t> of = capture->rows().counts();
        for (std::size_t i = 0; i < of.size(); ++i) counts[i] += of[i];
        total += capture->rows().size();
    }
    BarTable table(static_cast<std::int64_t>(total), false, memory);
    table.outside_trades.resize(intervals, 0);
    std::vector<Stream> streams(intervals);
    std::vector<BarSeries> series(total);
    std::int64_t place = 0;
    for (std::size_t i = 0; i < intervals; ++i) {
        streams[i].place = place;
        streams[i].series = series.data() + place;
        place += static_cast<std::int64_t>(counts[i]);
    }
    constexpr std::size_t AHEAD = 3;
    const std::vector<Part> parts = parts_by_symbol(captures);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const Part& part = parts[i];
        if (i + AHEAD < parts.size()) prefetch(parts[i + AHEAD]);
        for (std::size_t at = part.first; at < part.first + part.rows; ++at) {
            const BarRow& row = part.from->row(at);
            streams[static_cast<std::size_t>(row.interval)].add(row, table.columns());
        }
    }
    // Several bars of one series have left holes behind the series of their interval.
    auto kept = series.begin();
    auto begin = series.begin();
    for (std::size_t i = 0; i < intervals; ++i) {
        streams[i].flush(table.columns());
        const auto end = series.begin() + (streams[i].series - series.data());
        kept = begin == kept ? end : std::copy(begin, end, kept);
        begin += static_cast<std::ptrdiff_t>(counts[i]);
    }
    series.erase(kept, series.end());
    publish_rows();
    table.set_series(std::move(series));
    return table;
}

}  // namespace klineagg::engine
