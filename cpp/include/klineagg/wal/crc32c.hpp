// CRC-32C (Castagnoli), by the processor where it can.
#pragma once

#include <cstdint>

#include "klineagg/file.hpp"

namespace klineagg::wal {

/// Goes on from `crc`, the result for the bytes before these (0 at first).
[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc, Bytes bytes) noexcept;

/// The same without the processor's own instruction.
[[nodiscard]] std::uint32_t crc32c_portable(std::uint32_t crc, Bytes bytes) noexcept;

}  // namespace klineagg::wal
