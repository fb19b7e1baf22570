#include "klineagg/bus/record_type.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "klineagg/bus/records.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

[[noreturn]] void refuse(const std::string& why, std::string_view name) {
    throw Error(ErrorCode::record_mismatch, "not a record type: " + why,
                {{"type", std::string(name)}});
}

bool is_identifier(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    });
}

bool fits_kind(const Field& field) {
    const std::uint32_t n = field.bytes;
    switch (field.kind) {
        case 'i':
        case 'u': return n == 1 || n == 2 || n == 4 || n == 8;
        case 'f': return n == 4 || n == 8;
        case 'b': return n == 1;
        case 'M':
        case 'm': return n == 8;
        case 'S': return n >= 1;
        default: return false;
    }
}

std::vector<Field> with_header(std::vector<Field> fields) {
    std::vector<Field> all = {{"sequence", 'u', 8, 1, 0},
                              {"publish_time", 'M', 8, 1, 8},
                              {"publisher", 'S', NAME_BYTES, 1, 16}};
    std::move(fields.begin(), fields.end(), std::back_inserter(all));
    return all;
}

void check(const std::string& name, std::size_t bytes, const std::vector<Field>& fields) {
    if (!is_identifier(name)) refuse("its name has to be of letters, digits and _", name);
    if (bytes < sizeof(MessageHeader) || bytes % 8 != 0 || bytes > RECORD_BYTES_MAX)
        refuse("its size has to be a multiple of 8, 32 to 65536 bytes", name);
    std::size_t end = 0;
    for (const Field& field : fields) {
        if (!is_identifier(field.name)) refuse("a field has no proper name", name);
        if (!fits_kind(field)) refuse("the field " + field.name + " has no fixed layout", name);
        if (field.offset < end || field.count == 0)
            refuse("the field " + field.name + " overlaps another one", name);
        end = field.offset + std::size_t{field.bytes} * field.count;
        if (end > bytes) refuse("the field " + field.name + " ends outside of it", name);
    }
    for (auto a = fields.begin(); a != fields.end(); ++a) {
        if (std::any_of(fields.begin(), a, [&](const Field& b) { return b.name == a->name; }))
            refuse("it has two fields " + a->name, name);
    }
}

std::string text_of(const std::string& name, std::uint32_t version, std::size_t bytes,
                    const std::vector<Field>& fields) {
    std::string text = name + "," + std::to_string(version) + "," + std::to_string(bytes);
    for (const Field& field : fields) {
        text += "|" + field.name + ":" + field.kind + std::to_string(field.bytes);
        if (field.count != 1) text += "x" + std::to_string(field.count);
        text += "@" + std::to_string(field.offset);
    }
    return text;
}

/// Takes what is before the next `separator` off the front; all when there is none.
std::string_view cut(std::string_view& text, char separator) {
    const std::size_t at = text.find(separator);
    const std::string_view head = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
    return head;
}

std::uint32_t number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.empty() ||
        value > RECORD_BYTES_MAX)
        refuse("its text has something else where a number belongs", "");
    return value;
}

Field parse_field(std::string_view text) {
    Field field;
    field.name = std::string(cut(text, ':'));
    std::string_view shape = cut(text, '@');
    field.offset = number(text);
    if (shape.empty()) refuse("a field has no kind", "");
    field.kind = shape.front();
    shape.remove_prefix(1);
    field.bytes = number(cut(shape, 'x'));
    if (!shape.empty()) field.count = number(shape);
    return field;
}

// A field as it is called in T, of one item or an array of `count`.
#define KLINEAGG_FIELD(member, kind, bytes, count) \
    Field { #member, kind, bytes, count, static_cast<std::uint32_t>(offsetof(T, member)) }
// One that is called something else, because the header has taken the plain name.
#define KLINEAGG_NAMED(name, member, kind, bytes) \
    Field { name, kind, bytes, 1, static_cast<std::uint32_t>(offsetof(T, member)) }

RecordType trade_event() {
    using T = TradeEvent;
    return {"TradeEvent",
            2,
            sizeof(T),
            {KLINEAGG_FIELD(trade_id, 'S', 40, 1),
             KLINEAGG_FIELD(order_id, 'S', 40, 1),
             KLINEAGG_FIELD(instrument, 'S', 16, 1),
             KLINEAGG_FIELD(price, 'f', 8, 1),
             KLINEAGG_FIELD(volume, 'f', 8, 1),
             KLINEAGG_FIELD(time, 'M', 8, 1),
             KLINEAGG_FIELD(direction, 'i', 1, 1),
             KLINEAGG_FIELD(flags, 'u', 1, 1)}};
}

RecordType account_update() {
    using T = AccountUpdate;
    return {"AccountUpdate",
            1,
            sizeof(T),
            {KLINEAGG_FIELD(user, 'S', 32, 1),
             KLINEAGG_FIELD(balance, 'f', 8, 1),
             KLINEAGG_FIELD(available, 'f', 8, 1),
             KLINEAGG_FIELD(margin, 'f', 8, 1),
             KLINEAGG_FIELD(time, 'M', 8, 1)}};
}

RecordType market_l2() {
    using T = MarketL2;
    constexpr std::uint32_t levels = BOOK_LEVELS;
    return {"MarketL2",
            1,
            sizeof(T),
            {KLINEAGG_FIELD(instrument, 'S', 16, 1),
             KLINEAGG_FIELD(time, 'M', 8, 1),
             KLINEAGG_FIELD(bid_price, 'f', 8, levels),
             KLINEAGG_FIELD(bid_volume, 'f', 8, levels),
             KLINEAGG_FIELD(ask_price, 'f', 8, levels),
             KLINEAGG_FIELD(ask_volume, 'f', 8, levels)}};
}

RecordType bar() {
    using T = Bar;
    return {"Bar",
            1,
            sizeof(T),
            {KLINEAGG_FIELD(instrument, 'S', 16, 1),
             KLINEAGG_FIELD(interval, 'S', 24, 1),
             KLINEAGG_FIELD(open_time, 'M', 8, 1),
             KLINEAGG_FIELD(close_time, 'M', 8, 1),
             KLINEAGG_FIELD(open, 'f', 8, 1),
             KLINEAGG_FIELD(high, 'f', 8, 1),
             KLINEAGG_FIELD(low, 'f', 8, 1),
             KLINEAGG_FIELD(close, 'f', 8, 1),
             KLINEAGG_FIELD(volume, 'f', 8, 1),
             KLINEAGG_FIELD(quote_volume, 'f', 8, 1),
             KLINEAGG_FIELD(trade_count, 'i', 8, 1),
             KLINEAGG_FIELD(taker_buy_volume, 'f', 8, 1),
             KLINEAGG_FIELD(taker_buy_quote_volume, 'f', 8, 1),
             KLINEAGG_FIELD(first_trade_id, 'i', 8, 1),
             KLINEAGG_FIELD(last_trade_id, 'i', 8, 1),
             KLINEAGG_FIELD(first_trade_time, 'M', 8, 1),
             KLINEAGG_FIELD(last_trade_time, 'M', 8, 1),
             KLINEAGG_FIELD(run_length, 'i', 4, 1),
             KLINEAGG_FIELD(revision, 'i', 4, 1),
             KLINEAGG_FIELD(flags, 'u', 2, 1)}};
}

// The header's own publisher, sequence and time have taken the plain names.
RecordType heartbeat() {
    using T = Heartbeat;
    return {"Heartbeat",
            1,
            sizeof(T),
            {KLINEAGG_NAMED("of", publisher, 'S', 16),
             KLINEAGG_NAMED("last_sequence", sequence, 'u', 8),
             KLINEAGG_FIELD(time, 'M', 8, 1)}};
}

RecordType ack() {
    using T = Ack;
    return {"Ack",
            1,
            sizeof(T),
            {KLINEAGG_FIELD(subscriber, 'S', 16, 1),
             KLINEAGG_NAMED("of", publisher, 'S', 16),
             KLINEAGG_NAMED("acknowledged", sequence, 'u', 8),
             KLINEAGG_FIELD(time, 'M', 8, 1)}};
}

#undef KLINEAGG_FIELD
#undef KLINEAGG_NAMED

}  // namespace

std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3u;
    }
    return hash;
}

RecordType::RecordType(std::string name, std::uint32_t version, std::size_t bytes,
                       std::vector<Field> fields)
    : name_(std::move(name)),
      version_(version),
      bytes_(bytes),
      fields_(with_header(std::move(fields))) {
    check(name_, bytes_, fields_);
    text_ = text_of(name_, version_, bytes_, fields_);
    if (text_.size() > TYPE_TEXT_BYTES_MAX) refuse("it has too many fields", name_);
    hash_ = hash_of(text_);
}

RecordType RecordType::parse(std::string_view text) {
    if (text.size() > TYPE_TEXT_BYTES_MAX) refuse("its text is too long", "");
    std::string_view head = cut(text, '|');
    const std::string name(cut(head, ','));
    const std::uint32_t version = number(cut(head, ','));
    const std::uint32_t bytes = number(head);
    std::vector<Field> fields;
    while (!text.empty()) fields.push_back(parse_field(cut(text, '|')));
    const std::vector<Field> header = with_header({});
    if (fields.size() < header.size() ||
        !std::equal(header.begin(), header.end(), fields.begin()))
        refuse("it does not begin with a message header", name);
    fields.erase(fields.begin(), fields.begin() + static_cast<std::ptrdiff_t>(header.size()));
    return {name, version, bytes, std::move(fields)};
}

const Field* RecordType::find(std::string_view field) const noexcept {
    for (const Field& each : fields_) {
        if (each.name == field) return &each;
    }
    return nullptr;
}

const std::vector<RecordType>& builtin_types() {
    static const std::vector<RecordType> types = {trade_event(), account_update(), market_l2(),
                                                  bar(),         heartbeat(),      ack()};
    return types;
}

const RecordType& builtin_type(std::string_view name) {
    for (const RecordType& type : builtin_types()) {
        if (type.name() == name) return type;
    }
    refuse("no such type", name);
}

std::size_t default_ring_bytes(std::string_view topic) noexcept {
    for (const DefaultTopic& each : DEFAULT_TOPICS) {
        if (each.topic == topic) return each.ring_bytes;
    }
    return RING_BYTES_DEFAULT;
}

}  // namespace klineagg::bus
