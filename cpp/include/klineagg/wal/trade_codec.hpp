// Blocks of trades as few bytes, without losing a bit of them.
//
// Row by row: a word of sizes, then the fields, each as long as it has to be. Times are steps from
// the row before, in the coarsest unit that fits the block. A price is a step from the symbol's
// last one in units of its last decimal, wherever that gives the same double back, else its eight
// bytes; a quantity likewise, without the step. An id that goes on by one takes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/engine/lane_record.hpp"
#include "klineagg/file.hpp"

namespace klineagg::wal {

using engine::LaneRecord;

inline constexpr std::size_t TRADE_BLOCK_ROWS_MAX = 65536;
inline constexpr std::uint16_t TRADE_SCHEMA = 1;

/// Remembers how each symbol's numbers look, so that the next block finds it at once. One thread.
class TradeEncoder {
public:
    TradeEncoder();
    /// So that blocks of so many records need no memory any more.
    void reserve(std::size_t records);

    /// Any records, at most TRADE_BLOCK_ROWS_MAX; all fields but pushed_tick are kept. The bytes
    /// are valid until the next call.
    Bytes encode(std::span<const LaneRecord> records);

    /// Symbols and sources that no block before had; until they are forgotten.
    [[nodiscard]] const std::vector<std::int32_t>& new_symbols() const noexcept {
        return new_symbols_;
    }
    [[nodiscard]] const std::vector<std::uint16_t>& new_sources() const noexcept {
        return new_sources_;
    }
    void forget_new() noexcept {
        new_symbols_.clear();
        new_sources_.clear();
    }

private:
    struct Symbol {
        std::int64_t price = 0;  // its last, in units of its decimal
        std::int64_t id = 0;     // the next one, as it is expected
        std::int32_t symbol = 0;
        std::uint32_t block = 0;  // the block that it was in last; 0: the place is free
        std::uint32_t index = 0;  // its number within that block
        std::uint8_t price_scale = 0;
        std::uint8_t quantity_scale = 0;
        std::uint8_t price_rest = 0;  // rows until decimals are looked for again
        std::uint8_t quantity_rest = 0;
    };
    class Row;

    template <std::int64_t UNIT>
    std::byte* encode_rows(std::span<const LaneRecord> records, std::byte* to);
    Symbol& find(std::int32_t symbol);
    void grow();
    void see_source(std::uint16_t source);

    std::vector<Symbol> symbols_;  // open addressing, at most half full
    std::size_t used_ = 0;
    std::uint32_t block_ = 0;
    std::vector<std::byte> bytes_;
    std::vector<std::int32_t> new_symbols_;
    std::vector<std::uint16_t> new_sources_;
    std::vector<bool> known_sources_;
};

/// One thread.
class TradeDecoder {
public:
    /// Appends the block's rows to `records`. False when the bytes are no such block; then any
    /// number of rows may have been appended.
    [[nodiscard]] bool decode(Bytes payload, std::vector<LaneRecord>& records);

private:
    struct Symbol {
        std::int64_t price = 0;
        std::int64_t id = 0;
        std::int32_t symbol = 0;
        std::uint8_t price_scale = 0;
        std::uint8_t quantity_scale = 0;
    };

    [[nodiscard]] bool decode_rows(const std::byte* at, const std::byte* end, std::int64_t unit,
                                   std::int64_t time, std::span<LaneRecord> records);

    std::vector<std::byte> padded_;
    std::vector<Symbol> symbols_;
};

}  // namespace klineagg::wal
