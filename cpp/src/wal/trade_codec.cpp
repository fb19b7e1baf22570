#include "klineagg/wal/trade_codec.hpp"

#include <algorithm>

#include "trade_codec_parts.hpp"

namespace klineagg::wal {

using namespace codec;

namespace {

constexpr std::uint8_t REST_ROWS = 255;

std::size_t hash_of(std::int32_t symbol) noexcept {
    return static_cast<std::size_t>(static_cast<std::uint32_t>(symbol) * 0x9E3779B97F4A7C15ULL >>
                                    32U);
}

/// The coarsest unit that all steps are multiples of.
std::size_t unit_of(std::span<const LaneRecord> records) noexcept {
    std::size_t unit = UNITS.size() - 1;
    std::int64_t before = records.front().time;
    for (const LaneRecord& each : records) {
        const std::int64_t step = minus(each.time, before);
        before = each.time;
        if (step == 0) continue;
        // By constants, which the compiler turns into multiplications.
        if (unit == 3 && step % UNITS[3] != 0) unit = 2;
        if (unit == 2 && step % UNITS[2] != 0) unit = 1;
        if (unit == 1 && step % UNITS[1] != 0) return 0;
    }
    return unit;
}

/// The value in units of a decimal that gives it back, if need be of a finer one than before.
bool find_mantissa(double value, std::uint8_t& scale, std::uint8_t& rest, bool& is_finer,
                   std::int64_t& to) noexcept {
    if (mantissa(value, scale, to)) [[likely]]
        return true;
    if (rest != 0) {
        --rest;
        return false;
    }
    for (int finer = scale + 1; finer <= SCALE_MAX; ++finer) {
        if (!mantissa(value, finer, to)) continue;
        scale = static_cast<std::uint8_t>(finer);
        is_finer = true;
        return true;
    }
    rest = REST_ROWS;  // no decimal: looking again at every row would cost more than it gains
    return false;
}

/// Which of the fields a row has that most rows do without.
unsigned extras_of(const LaneRecord& row, bool is_new_source, bool is_finer) noexcept {
    const unsigned more = row.more_ids < 256 ? HAS_MORE_8 : HAS_MORE_32;
    return (row.flags != 0 ? HAS_FLAGS : 0) | (row.more_ids != 0 ? more : 0) |
           (is_new_source ? HAS_SOURCE : 0) | (is_finer ? HAS_SCALES : 0);
}

std::byte* put_extras(const LaneRecord& row, unsigned extras, std::uint8_t price_scale,
                      std::uint8_t quantity_scale, std::byte* to) noexcept {
    *to++ = static_cast<std::byte>(extras);
    if ((extras & HAS_FLAGS) != 0) *to++ = static_cast<std::byte>(row.flags);
    store(to, row.more_ids);
    to += (extras & HAS_MORE_8) != 0 ? 1 : (extras & HAS_MORE_32) != 0 ? 4 : 0;
    store(to, row.source);
    to += (extras & HAS_SOURCE) != 0 ? 2 : 0;
    if ((extras & HAS_SCALES) != 0) {
        *to++ = static_cast<std::byte>(price_scale);
        *to++ = static_cast<std::byte>(quantity_scale);
    }
    return to;
}

std::int64_t rescale(std::int64_t value, int from, int to) noexcept {
    for (; from < to; ++from) value = times(value, 10);
    return value;
}

}  // namespace

TradeEncoder::TradeEncoder() : symbols_(1024) {}

TradeEncoder::Symbol& TradeEncoder::find(std::int32_t symbol) {
    if (used_ * 2 >= symbols_.size()) grow();
    const std::size_t mask = symbols_.size() - 1;
    for (std::size_t at = hash_of(symbol) & mask;; at = (at + 1) & mask) {
        Symbol& place = symbols_[at];
        if (place.block != 0 && place.symbol == symbol) return place;
        if (place.block != 0) continue;
        place = Symbol{};
        place.symbol = symbol;
        ++used_;
        new_symbols_.push_back(symbol);
        return place;
    }
}

void TradeEncoder::grow() {
    std::vector<Symbol> old(symbols_.size() * 2);
    old.swap(symbols_);
    const std::size_t mask = symbols_.size() - 1;
    for (const Symbol& each : old) {
        if (each.block == 0) continue;
        std::size_t at = hash_of(each.symbol) & mask;
        while (symbols_[at].block != 0) at = (at + 1) & mask;
        symbols_[at] = each;
    }
}

void TradeEncoder::see_source(std::uint16_t source) {
    if (known_sources_.size() <= source) known_sources_.resize(std::size_t{source} + 1);
    if (known_sources_[source]) return;
    known_sources_[source] = true;
    new_sources_.push_back(source);
}

template <std::int64_t UNIT>
std::byte* TradeEncoder::encode_rows(std::span<const LaneRecord> records, std::byte* to) {
    std::int64_t time = records.front().time;
    std::uint32_t symbols = 0;
    std::uint16_t source = 0;
    Symbol* symbol = nullptr;
    for (const LaneRecord& row : records) {
        std::byte* const word = to;
        to += 2;
        unsigned sizes = 0;
        if (symbol == nullptr || symbol->symbol != row.symbol) {
            symbol = &find(row.symbol);
            if (symbol->block != block_) {
                symbol->block = block_;
                symbol->index = symbols++;
                symbol->price = 0;
                symbol->id = NO_TRADE_ID;
                sizes = NEW_SYMBOL;
                store(to, static_cast<std::uint32_t>(row.symbol) |
                              std::uint64_t{symbol->price_scale} << 32U |
                              std::uint64_t{symbol->quantity_scale} << 40U);
                to += 6;
            } else {
                const bool is_short = symbol->index < 256;
                sizes = is_short ? SYMBOL_8 : SYMBOL_16;
                store(to, symbol->index);
                to += is_short ? 1 : 2;
            }
        }
        const int price_scale = symbol->price_scale;
        bool is_finer = false;
        std::int64_t price = 0;
        std::int64_t quantity = 0;
        const bool has_price =
            find_mantissa(row.price, symbol->price_scale, symbol->price_rest, is_finer, price);
        const bool has_quantity = find_mantissa(row.quantity, symbol->quantity_scale,
                                                symbol->quantity_rest, is_finer, quantity) &&
                                  quantity >= 0;
        if (is_finer) symbol->price = rescale(symbol->price, price_scale, symbol->price_scale);

        const unsigned extras = extras_of(row, row.source != source, is_finer);
        if (extras != 0) {
            to = put_extras(row, extras, symbol->price_scale, symbol->quantity_scale, to);
            if ((extras & HAS_SOURCE) != 0) {
                source = row.source;
                see_source(source);
            }
            sizes |= 1U << EXTRA_SHIFT;
        }
        const std::uint64_t step = zigzag(minus(row.time, time) / UNIT);
        time = row.time;
        const unsigned time_code = size_code(step);
        store(to, step);
        to += SIZES[time_code];

        std::uint64_t bits = std::bit_cast<std::uint64_t>(row.price);
        unsigned price_code = RAW;
        const std::uint64_t change = zigzag(minus(price, symbol->price));
        // After a change of scale a step may be too long: then the price itself is as short.
        if (has_price && size_code(change) != RAW) {
            bits = change;
            symbol->price = price;
            price_code = size_code(bits);
        }
        store(to, bits);
        to += SIZES[price_code];

        bits = std::bit_cast<std::uint64_t>(row.quantity);
        unsigned quantity_code = RAW;
        if (has_quantity) {
            bits = static_cast<std::uint64_t>(quantity);
            quantity_code = size_code(bits);
        }
        store(to, bits);
        to += SIZES[quantity_code];

        const std::uint64_t id = zigzag(minus(row.id, symbol->id));
        const unsigned id_code = id == 0          ? ID_EXPECTED
                                 : id < 256       ? ID_8
                                 : id >> 32U == 0 ? ID_32
                                                  : ID_64;
        store(to, id);
        to += ID_SIZES[id_code];
        symbol->id = expected_id(plus(row.id, row.more_ids));

        sizes |= time_code << TIME_SHIFT | price_code << PRICE_SHIFT |
                 quantity_code << QUANTITY_SHIFT | id_code << ID_SHIFT |
                 static_cast<unsigned>(row.taker_buy != 0) << TAKER_SHIFT;
        word[0] = static_cast<std::byte>(sizes);
        word[1] = static_cast<std::byte>(sizes >> 8U);
    }
    return to;
}

void TradeEncoder::reserve(std::size_t records) {
    if (bytes_.size() < sizeof(BlockHeader) + records * ROW_BYTES_MAX)
        bytes_.resize(sizeof(BlockHeader) + records * ROW_BYTES_MAX);
}

Bytes TradeEncoder::encode(std::span<const LaneRecord> records) {
    reserve(records.size());
    if (++block_ == 0) {  // it came round: no symbol may look as if it were in this block
        for (Symbol& each : symbols_) each.block = each.block != 0 ? 1 : 0;
        block_ = 2;
    }
    BlockHeader header;
    header.count = static_cast<std::uint32_t>(records.size());
    std::byte* to = bytes_.data() + sizeof header;
    if (!records.empty()) {
        see_source(0);
        header.time = records.front().time;
        header.unit = static_cast<std::uint8_t>(unit_of(records));
        switch (header.unit) {
            case 0: to = encode_rows<UNITS[0]>(records, to); break;
            case 1: to = encode_rows<UNITS[1]>(records, to); break;
            case 2: to = encode_rows<UNITS[2]>(records, to); break;
            default: to = encode_rows<UNITS[3]>(records, to); break;
        }
    }
    std::memcpy(bytes_.data(), &header, sizeof header);
    return {bytes_.data(), to};
}

}  // namespace klineagg::wal
