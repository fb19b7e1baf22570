#include <cstring>

#include "klineagg/wal/trade_codec.hpp"
#include "trade_codec_parts.hpp"

namespace klineagg::wal {

using namespace codec;

bool TradeDecoder::decode(Bytes payload, std::vector<LaneRecord>& records) {
    BlockHeader header;
    if (payload.size() < sizeof header) return false;
    std::memcpy(static_cast<void*>(&header), payload.data(), sizeof header);
    if (header.unit >= UNITS.size() || header.count > TRADE_BLOCK_ROWS_MAX) return false;
    // Loads of 8 bytes may reach behind the last field.
    padded_.resize(payload.size() + ROW_BYTES_MAX);
    std::memcpy(padded_.data(), payload.data(), payload.size());
    const std::size_t first = records.size();
    records.resize(first + header.count);
    return decode_rows(padded_.data() + sizeof header, padded_.data() + payload.size(),
                       UNITS[header.unit], header.time, std::span(records).subspan(first));
}

bool TradeDecoder::decode_rows(const std::byte* at, const std::byte* end, std::int64_t unit,
                               std::int64_t time, std::span<LaneRecord> records) {
    symbols_.clear();
    std::size_t current = 0;
    std::uint16_t source = 0;
    for (LaneRecord& row : records) {
        if (at >= end) return false;  // no row takes more than the padding behind the end
        const auto sizes = static_cast<unsigned>(load(at, 2));
        at += 2;
        const unsigned symbol_code = sizes & 3U;
        if (symbol_code == NEW_SYMBOL) {
            current = symbols_.size();
            Symbol fresh;
            fresh.id = NO_TRADE_ID;
            fresh.symbol = static_cast<std::int32_t>(load(at, 4));
            fresh.price_scale = static_cast<std::uint8_t>(load(at + 4, 1));
            fresh.quantity_scale = static_cast<std::uint8_t>(load(at + 5, 1));
            if (fresh.price_scale > SCALE_MAX || fresh.quantity_scale > SCALE_MAX) return false;
            symbols_.push_back(fresh);
            at += 6;
        } else if (symbol_code != SAME_SYMBOL) {
            current = static_cast<std::size_t>(load(at, symbol_code));
            at += symbol_code;
        }
        if (current >= symbols_.size()) return false;
        Symbol& symbol = symbols_[current];
        row.symbol = symbol.symbol;
        row.flags = 0;
        row.more_ids = 0;
        row.pushed_tick = 0;
        if ((sizes >> EXTRA_SHIFT & 1U) != 0) {
            const auto extras = static_cast<unsigned>(*at++);
            if (extras > EXTRAS_ALL) return false;
            if ((extras & HAS_FLAGS) != 0) row.flags = static_cast<std::uint8_t>(*at++);
            if ((extras & HAS_MORE_8) != 0) {
                row.more_ids = static_cast<std::uint8_t>(*at++);
            } else if ((extras & HAS_MORE_32) != 0) {
                row.more_ids = static_cast<std::uint32_t>(load(at, 4));
                at += 4;
            }
            if ((extras & HAS_SOURCE) != 0) {
                source = static_cast<std::uint16_t>(load(at, 2));
                at += 2;
            }
            if ((extras & HAS_SCALES) != 0) {
                const auto price_scale = static_cast<std::uint8_t>(*at++);
                const auto quantity_scale = static_cast<std::uint8_t>(*at++);
                if (price_scale > SCALE_MAX || quantity_scale > SCALE_MAX) return false;
                for (int i = symbol.price_scale; i < price_scale; ++i)
                    symbol.price = times(symbol.price, 10);
                symbol.price_scale = price_scale;
                symbol.quantity_scale = quantity_scale;
            }
        }
        const unsigned time_bytes = SIZES[sizes >> TIME_SHIFT & 7U];
        time = plus(time, times(unzigzag(load(at, time_bytes)), unit));
        at += time_bytes;
        row.time = time;

        const unsigned price_code = sizes >> PRICE_SHIFT & 7U;
        std::uint64_t bits = load(at, SIZES[price_code]);
        at += SIZES[price_code];
        if (price_code == RAW) {
            row.price = std::bit_cast<double>(bits);
        } else {
            symbol.price = plus(symbol.price, unzigzag(bits));
            row.price = amount(symbol.price, symbol.price_scale);
        }
        const unsigned quantity_code = sizes >> QUANTITY_SHIFT & 7U;
        bits = load(at, SIZES[quantity_code]);
        at += SIZES[quantity_code];
        row.quantity = quantity_code == RAW
                           ? std::bit_cast<double>(bits)
                           : amount(static_cast<std::int64_t>(bits), symbol.quantity_scale);

        const unsigned id_bytes = ID_SIZES[sizes >> ID_SHIFT & 3U];
        row.id = plus(symbol.id, unzigzag(load(at, id_bytes)));
        at += id_bytes;
        symbol.id = expected_id(plus(row.id, row.more_ids));
        row.source = source;
        row.taker_buy = static_cast<std::uint8_t>(sizes >> TAKER_SHIFT & 1U);
    }
    return at == end;
}

}  // namespace klineagg::wal
