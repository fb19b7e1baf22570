// The messages of the bus: plain records, the same bytes in shared memory, in a log, in C++ and in
// NumPy. Nothing is ever serialized.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "klineagg/time.hpp"

namespace klineagg::bus {

inline constexpr std::size_t NAME_BYTES = 16;  // publishers, subscribers, instruments
inline constexpr std::size_t BOOK_LEVELS = 10;

/// The first 32 bytes of every record; a publisher fills them in.
struct MessageHeader {
    std::uint64_t sequence = 0;  // without holes per topic and publisher
    TimeNs publish_time = 0;
    char publisher[NAME_BYTES] = {};  // padded with zeros
};

struct TradeEvent {
    MessageHeader header;
    char trade_id[40] = {};  // of aggregated trades the first and the last: "17-21"
    char order_id[40] = {};
    char instrument[NAME_BYTES] = {};
    double price = 0.0;
    double volume = 0.0;
    TimeNs time = 0;
    std::int8_t direction = 0;  // 1 the taker bought, -1 sold, 0 not known
    std::uint8_t flags = 0;     // TradeFlag
    std::uint8_t origin[6] = {};  // see set_origin()
};

struct AccountUpdate {
    MessageHeader header;
    char user[32] = {};
    double balance = 0.0;
    double available = 0.0;
    double margin = 0.0;
    TimeNs time = 0;
};

struct MarketL2 {
    MessageHeader header;
    char instrument[NAME_BYTES] = {};
    TimeNs time = 0;
    double bid_price[BOOK_LEVELS] = {};  // best first
    double bid_volume[BOOK_LEVELS] = {};
    double ask_price[BOOK_LEVELS] = {};
    double ask_volume[BOOK_LEVELS] = {};
};

/// A row of `Bars`, with names in the place of ids, which mean nothing to another process.
struct Bar {
    MessageHeader header;
    char instrument[NAME_BYTES] = {};
    char interval[24] = {};
    TimeNs open_time = 0;
    TimeNs close_time = 0;
    double open = 0.0;
    double high = 0.0;
    double low = 0.0;
    double close = 0.0;
    double volume = 0.0;
    double quote_volume = 0.0;
    std::int64_t trade_count = 0;
    double taker_buy_volume = 0.0;
    double taker_buy_quote_volume = 0.0;
    std::int64_t first_trade_id = -1;
    std::int64_t last_trade_id = -1;
    TimeNs first_trade_time = TIME_NONE;
    TimeNs last_trade_time = TIME_NONE;
    std::int32_t run_length = 1;
    std::int32_t revision = 0;
    std::uint16_t flags = 0;
    std::uint8_t origin[6] = {};  // see set_origin()
};

/// What a publisher says of itself: the last sequence it has published, and when it said so.
struct Heartbeat {
    MessageHeader header;
    char publisher[NAME_BYTES] = {};
    std::uint64_t sequence = 0;
    TimeNs time = 0;
};

/// `subscriber` has received message `sequence` of `publisher`.
struct Ack {
    MessageHeader header;
    char subscriber[NAME_BYTES] = {};
    char publisher[NAME_BYTES] = {};
    std::uint64_t sequence = 0;
    TimeNs time = 0;
};

/// Copies a name into a field, the rest zeros. False when it does not fit: never cut silently.
template <std::size_t N>
inline bool set_name(char (&field)[N], std::string_view name) noexcept {
    if (name.size() > N) return false;
    std::memset(field, 0, N);
    std::memcpy(field, name.data(), name.size());
    return true;
}

/// The name in a field, without its padding.
template <std::size_t N>
[[nodiscard]] inline std::string_view name_of(const char (&field)[N]) noexcept {
    return {field, strnlen(field, N)};
}

/// Where in the log of an engine a record comes from: its low 48 bits, 0 without a log. Of its
/// publisher's own use, so it stands where the record has padding for everybody else.
inline void set_origin(std::uint8_t (&field)[6], std::uint64_t position) noexcept {
    std::memcpy(field, &position, sizeof field);
}
[[nodiscard]] inline std::uint64_t origin_of(const std::uint8_t (&field)[6]) noexcept {
    std::uint64_t position = 0;
    std::memcpy(&position, field, sizeof field);
    return position;
}
static_assert(std::endian::native == std::endian::little);

// What stands in a ring is copied in words of 8 bytes, and its layout is part of the format.
template <class T>
concept IsRecord = requires(T record) {
    { record.header } -> std::same_as<MessageHeader&>;
} && std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> && sizeof(T) % 8 == 0 &&
    alignof(T) == 8 && offsetof(T, header) == 0;

static_assert(sizeof(MessageHeader) == 32 && alignof(MessageHeader) == 8);
static_assert(offsetof(MessageHeader, publish_time) == 8);
static_assert(offsetof(MessageHeader, publisher) == 16);
static_assert(IsRecord<TradeEvent> && sizeof(TradeEvent) == 160);
static_assert(offsetof(TradeEvent, order_id) == 72 && offsetof(TradeEvent, instrument) == 112);
static_assert(offsetof(TradeEvent, price) == 128 && offsetof(TradeEvent, time) == 144);
static_assert(offsetof(TradeEvent, direction) == 152 && offsetof(TradeEvent, flags) == 153);
static_assert(IsRecord<AccountUpdate> && sizeof(AccountUpdate) == 96);
static_assert(offsetof(AccountUpdate, balance) == 64 && offsetof(AccountUpdate, time) == 88);
static_assert(IsRecord<MarketL2> && sizeof(MarketL2) == 376);
static_assert(offsetof(MarketL2, time) == 48 && offsetof(MarketL2, bid_price) == 56);
static_assert(offsetof(MarketL2, ask_price) == 216 && offsetof(MarketL2, ask_volume) == 296);
static_assert(IsRecord<Bar> && sizeof(Bar) == 208);
static_assert(offsetof(Bar, open_time) == 72 && offsetof(Bar, open) == 88);
static_assert(offsetof(Bar, trade_count) == 136 && offsetof(Bar, first_trade_id) == 160);
static_assert(offsetof(Bar, run_length) == 192 && offsetof(Bar, flags) == 200);
static_assert(IsRecord<Heartbeat> && sizeof(Heartbeat) == 64);
static_assert(offsetof(Heartbeat, sequence) == 48 && offsetof(Heartbeat, time) == 56);
static_assert(IsRecord<Ack> && sizeof(Ack) == 80);
static_assert(offsetof(Ack, publisher) == 48 && offsetof(Ack, sequence) == 64);

}  // namespace klineagg::bus
