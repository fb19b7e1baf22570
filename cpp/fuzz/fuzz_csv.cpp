// Any bytes as a trade dump: read whole, and again cut in two, with the same rows, faults and
// errors. The first byte picks the shape, the second where to cut.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "klineagg/csv.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

CsvOptions options_of(std::uint8_t shape) {
    CsvOptions options;
    if ((shape & 1) != 0) {
        options.columns = {{0, CsvRole::time}, {1, CsvRole::price}, {2, CsvRole::quantity}};
        options.field_count = 3;
    } else {
        options.columns = {{0, CsvRole::symbol},        {1, CsvRole::time},
                           {2, CsvRole::price},         {4, CsvRole::quantity},
                           {5, CsvRole::side},          {6, CsvRole::trade_id},
                           {7, CsvRole::last_trade_id}, {8, CsvRole::flags},
                           {3, CsvRole::conditions}};
        options.field_count = 9;
    }
    options.header = (shape & 2) != 0;
    options.count_faults = (shape & 4) != 0;
    options.unit = static_cast<CsvTimeUnit>((shape >> 3U) % 6);
    options.side = (shape & 1) != 0 ? CsvSideRule::taker : CsvSideRule::buyer_is_maker;
    options.delimiter = (shape & 64) != 0 ? ';' : ',';
    options.line_bytes_max = (shape & 128) != 0 ? 24 : 200;
    return options;
}

using Cell = std::tuple<std::uint64_t, TimeNs, std::uint64_t, std::uint64_t, int, std::int64_t,
                        std::int64_t, std::string, int, std::string>;

struct Outcome {
    std::vector<Cell> cells;
    std::vector<std::uint64_t> faults;
    std::string error;
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

void collect(CsvParser& parser, Outcome& outcome) {
    const CsvBatch batch = parser.take();
    for (std::size_t i = 0; i < batch.rows; ++i) {
        const int side = batch.side.empty() ? 0 : batch.side[i];
        require(side >= -1 && side <= 1);
        std::string symbol;
        if (!batch.symbol.empty()) {
            symbol = parser.symbols().at(static_cast<std::size_t>(batch.symbol[i]));
            require(!symbol.empty());
        }
        std::string conditions;
        if (!batch.conditions.empty()) {
            conditions = parser.conditions().at(static_cast<std::size_t>(batch.conditions[i]));
        }
        // Doubles by their bits, since NaN is not equal to itself.
        outcome.cells.emplace_back(batch.line_of(i), batch.time[i],
                                   std::bit_cast<std::uint64_t>(batch.price[i]),
                                   std::bit_cast<std::uint64_t>(batch.quantity[i]), side,
                                   batch.trade_id.empty() ? -1 : batch.trade_id[i],
                                   batch.last_trade_id.empty() ? -1 : batch.last_trade_id[i],
                                   symbol, batch.flags.empty() ? 0 : int{batch.flags[i]},
                                   conditions);
    }
}

Outcome read_all(const CsvOptions& options, std::string_view text, std::size_t cut) {
    Outcome outcome;
    CsvParser parser(options);
    try {
        // Copies of their own, so that a read beyond a piece is seen.
        const std::vector<char> first(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(cut));
        const std::vector<char> second(text.begin() + static_cast<std::ptrdiff_t>(cut), text.end());
        parser.feed({first.data(), first.size()});
        collect(parser, outcome);
        parser.feed({second.data(), second.size()});
        parser.finish();
    } catch (const Error& error) {
        require(error.code() == ErrorCode::csv_row && !options.count_faults);
        outcome.error = error.what();
    }
    collect(parser, outcome);
    require(parser.rows() == outcome.cells.size());
    std::uint64_t last_line = 0;
    for (const Cell& cell : outcome.cells) {
        require(std::get<0>(cell) > last_line);
        last_line = std::get<0>(cell);
    }
    for (std::size_t i = 0; i < CSV_FAULT_COUNT; ++i) {
        outcome.faults.push_back(parser.faults(static_cast<CsvFault>(i)));
    }
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const CsvOptions options = options_of(data[0]);
    const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
    const Outcome whole = read_all(options, text, 0);
    require(read_all(options, text, data[1] * text.size() / 255) == whole);
    require(read_all(options, text, text.size()) == whole);
    return 0;
}
