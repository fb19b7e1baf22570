// Decimals of the Arrow format as float64.
#pragma once

#include <cstdint>

namespace klineagg::arrow {

/// The float64 nearest to a decimal (ties to even), as if its digits had been typed in.
/// `value` points to a little-endian two's complement integer of 4, 8, 16 or 32 `bytes`; the
/// decimal is that integer times 10^-scale.
double decimal_to_double(const void* value, int bytes, std::int32_t scale);

}  // namespace klineagg::arrow
