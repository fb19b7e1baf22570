// The errors about a single row, worded in one place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "klineagg/admission.hpp"
#include "klineagg/error.hpp"

namespace klineagg::detail {

struct RowPlace {
    std::size_t row = 0;  // among all rows of the update
    TimeNs time = 0;
};

/// Throws Error(bad_trade).
[[noreturn]] void throw_bad_trade(const TradeColumns& columns, std::size_t row,
                                  std::size_t global_row, RejectReason reason);

/// Throws Error(code): the row came before `newest`, the newest trade or the watermark.
[[noreturn]] void throw_out_of_order(ErrorCode code, std::int32_t symbol, RowPlace place,
                                     TimeNs newest);

}  // namespace klineagg::detail
