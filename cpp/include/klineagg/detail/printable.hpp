// Bytes from outside, as a part of a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace klineagg::detail {

/// Error texts go to terminals and logs: no control characters, no broken UTF-8, no endless lines.
/// What may not stay becomes '?', a byte each; of what is longer than `bytes_max` the rest is "...".
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t bytes_max);

}  // namespace klineagg::detail
