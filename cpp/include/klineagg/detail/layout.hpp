// Where every row of an update goes, known before the first is made.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "klineagg/bar_table.hpp"
#include "klineagg/detail/slice.hpp"

namespace klineagg::detail {

/// One symbol of an update. At each output its rows stand as
/// [slice 0][seam 1][slice 1][seam 2] ... [end].
struct Layout {
    std::int32_t symbol = 0;
    std::vector<std::vector<std::int64_t>> slices;  // by slice and output: rows before its own
    std::vector<std::vector<std::int64_t>> seams;   // likewise: rows before its seam
    std::vector<std::int64_t> rows_before_end;      // by output
    std::vector<std::int64_t> rows;                 // in all
    std::vector<std::int64_t> base;                 // first row in the table
};

/// A slice that begins, for a symbol, before the slices before it ended.
struct Disorder {
    std::int32_t symbol;
    RowPlace place;
    TimeNs newest;
};

/// The first row of that kind in the first `count` slices.
std::optional<Disorder> first_disorder(const std::vector<Slice>& slices, std::size_t count);

/// By running the seams and the end over times.
Layout lay_out(const PassContext& context, std::vector<Slice>& slices, std::int32_t symbol,
               SymbolAggregator<TimeBar> times, bool finish);

/// Plain streams: from the counters. `newest`: of the symbol, before the update.
Layout lay_out_plain(const PassContext& context, const std::vector<Slice>& slices,
                     std::int32_t symbol, TimeNs newest, bool finish);

/// A table with every series in its place: by interval, then symbol (layouts are sorted), then
/// time. Sets the bases of the layouts.
BarTable place_rows(std::vector<Layout>& layouts, std::size_t outputs, bool with_partials);

}  // namespace klineagg::detail
