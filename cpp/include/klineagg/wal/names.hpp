// Names in the log: numbers of symbols and sources are good for one segment only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/file.hpp"

namespace klineagg::wal {

enum class NameKind : std::uint8_t { symbol = 0, source = 1 };

struct Name {
    NameKind kind = NameKind::symbol;
    std::int32_t id = 0;
    std::string name;

    bool operator==(const Name&) const = default;
};

/// Adds one to the payload of a names frame. Names of more than 65,535 bytes are cut.
void put_name(std::vector<std::byte>& payload, NameKind kind, std::int32_t id,
              std::string_view name);
/// Appends all of a payload to `names`. False when the bytes are no such payload.
[[nodiscard]] bool read_names(Bytes payload, std::vector<Name>& names);

}  // namespace klineagg::wal
