// What a record is made of, as data: written into every segment, so that two programs that do not
// mean the same bytes find out before they read one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace klineagg::bus {

inline constexpr std::size_t TYPE_TEXT_BYTES_MAX = 3072;
inline constexpr std::size_t RECORD_BYTES_MAX = 65'536;

/// FNV-1a, 64 bits: the same in every process and version.
[[nodiscard]] std::uint64_t hash_of(std::string_view text) noexcept;

struct Field {
    std::string name;
    char kind = 'u';            // NumPy's: i u f b S M m
    std::uint32_t bytes = 8;    // of one item
    std::uint32_t count = 1;    // of items; more than 1: an array
    std::uint32_t offset = 0;

    friend bool operator==(const Field&, const Field&) = default;
};

class RecordType {
public:
    /// `fields` without those of the message header, which every record begins with, rising by
    /// offset and not overlapping. Throws record_mismatch when this is no record.
    RecordType(std::string name, std::uint32_t version, std::size_t bytes,
               std::vector<Field> fields);
    /// What `text()` gave. Throws record_mismatch for anything else.
    static RecordType parse(std::string_view text);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    /// With those of the message header.
    [[nodiscard]] const std::vector<Field>& fields() const noexcept { return fields_; }
    /// nullptr when there is none of this name.
    [[nodiscard]] const Field* find(std::string_view field) const noexcept;
    /// For example "Tick,1,40|sequence:u8@0|publish_time:M8@8|publisher:S16@16|value:f8@32".
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    /// Of the text: equal for equal name, version and layout.
    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }

private:
    std::string name_;
    std::uint32_t version_;
    std::size_t bytes_;
    std::vector<Field> fields_;
    std::string text_;
    std::uint64_t hash_;
};

/// The types of records.hpp.
[[nodiscard]] const std::vector<RecordType>& builtin_types();
/// Throws record_mismatch when there is none of this name.
[[nodiscard]] const RecordType& builtin_type(std::string_view name);

inline constexpr std::size_t MIB = std::size_t{1} << 20;

struct DefaultTopic {
    std::string_view topic;
    std::string_view type;
    std::size_t ring_bytes;  // at most; the number of records is a power of two
};
inline constexpr DefaultTopic DEFAULT_TOPICS[] = {
    {"trade_events", "TradeEvent", 10 * MIB},
    {"account_events", "AccountUpdate", 10 * MIB},
    {"market_l2", "MarketL2", 50 * MIB},
    {"bars", "Bar", 10 * MIB},
    {"open_bars", "Bar", 10 * MIB},
};
inline constexpr std::size_t RING_BYTES_DEFAULT = 10 * MIB;

/// `ring_bytes` of a default topic, RING_BYTES_DEFAULT of any other.
[[nodiscard]] std::size_t default_ring_bytes(std::string_view topic) noexcept;

}  // namespace klineagg::bus
