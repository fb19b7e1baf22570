#include "klineagg/detail/row_errors.hpp"

#include <string>

#include "klineagg/symbol_table.hpp"

namespace klineagg::detail {

namespace {

std::string label_of(std::int32_t symbol) {
    const std::string name = symbol_table().name(symbol);
    return name.empty() ? std::to_string(symbol) : name;
}

}  // namespace

void throw_bad_trade(const TradeColumns& columns, std::size_t row, std::size_t global_row,
                     RejectReason reason) {
    const std::string value = row_value(columns, row, reason);
    const std::string name(reason_name(reason));
    const std::string column(reason_column(reason));
    throw Error(ErrorCode::bad_trade,
                "row " + std::to_string(global_row) + ": " + name + ", " + column + " = " + value,
                {{"row", std::to_string(global_row)},
                 {"reason", name},
                 {"column", column},
                 {"value", value}});
}

void throw_out_of_order(ErrorCode code, std::int32_t symbol, RowPlace place, TimeNs newest) {
    const double seconds =
        static_cast<double>(newest - place.time) / static_cast<double>(NS_PER_SECOND);
    throw Error(code,
                "row " + std::to_string(place.row) + " of " + label_of(symbol) + " lies " +
                    std::to_string(seconds) + " s before " +
                    (code == ErrorCode::unsorted ? "the trade that came before it" : "the watermark"),
                {{"row", std::to_string(place.row)},
                 {"symbol", label_of(symbol)},
                 {"time_ns", std::to_string(place.time)},
                 {"newest_ns", std::to_string(newest)}});
}

}  // namespace klineagg::detail
