#include "klineagg/bus/record_type.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "klineagg/bus/records.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;

TEST_CASE("record types are their text", "[bus]") {
    for (const RecordType& type : builtin_types()) {
        const RecordType again = RecordType::parse(type.text());
        CHECK(again.text() == type.text());
        CHECK(again.hash() == type.hash());
        CHECK(again.fields() == type.fields());
    }
    const RecordType tick("Tick", 3, 48, {{"value", 'f', 4, 2, 32}});
    CHECK(tick.text() == "Tick,3,48|sequence:u8@0|publish_time:M8@8|publisher:S16@16|value:f4x2@32");
    CHECK(tick.hash() != RecordType("Tick", 4, 48, {{"value", 'f', 4, 2, 32}}).hash());
    CHECK(tick.hash() != RecordType("Tick", 3, 48, {{"value", 'i', 4, 2, 32}}).hash());
}

TEST_CASE("the tables of the built-in records fill their structs", "[bus]") {
    CHECK(builtin_type("TradeEvent").bytes() == sizeof(TradeEvent));
    CHECK(builtin_type("MarketL2").find("ask_volume")->offset == offsetof(MarketL2, ask_volume));
    CHECK(builtin_type("Bar").find("flags")->offset == offsetof(Bar, flags));
    CHECK(builtin_type("Ack").find("of")->offset == offsetof(Ack, publisher));
    for (const RecordType& type : builtin_types()) {
        std::size_t end = 0;
        for (const Field& field : type.fields()) {
            CHECK(field.offset == end);  // padding at the end only
            end = field.offset + std::size_t{field.bytes} * field.count;
        }
        CHECK(type.bytes() - end < 8);
    }
}

TEST_CASE("texts that are no record are refused", "[bus]") {
    const std::string head = "sequence:u8@0|publish_time:M8@8|publisher:S16@16";
    CHECK_NOTHROW(RecordType::parse("A,1,40|" + head + "|x:f8@32"));
    for (const std::string& text : std::vector<std::string>{
             "", "A", "A,1,40", "A,1,40|x:f8@0", "A,1,36|" + head,
             "A,1,40|" + head + "|x:f8@36", "A,1,40|" + head + "|x:f8@24",
             "A,1,40|" + head + "|x:f3@32", "A,1,40|" + head + "|x:O8@32",
             "A,1,40|" + head + "|x:f8x0@32", "A,1,40|" + head + "|x:f4@32|x:f4@36",
             "A,-1,40|" + head, "A,1,99999999|" + head, "A b,1,40|" + head,
             "A,1,40|" + head + "|:f8@32", "A,1,40|" + head + "|x:@32"}) {
        INFO(text);
        CHECK_THROWS_AS(RecordType::parse(text), Error);
    }
}

TEST_CASE("default topics have types and their sizes", "[bus]") {
    CHECK(default_ring_bytes("market_l2") == 50 * MIB);
    CHECK(default_ring_bytes("anything") == 10 * MIB);
    for (const DefaultTopic& topic : DEFAULT_TOPICS) CHECK_NOTHROW(builtin_type(topic.type));
}

TEST_CASE("names are padded, never cut", "[bus]") {
    TradeEvent trade;
    CHECK(set_name(trade.instrument, "BTCUSDT"));
    CHECK(name_of(trade.instrument) == "BTCUSDT");
    CHECK(set_name(trade.instrument, "0123456789abcdef"));
    CHECK(name_of(trade.instrument) == "0123456789abcdef");
    CHECK_FALSE(set_name(trade.instrument, "0123456789abcdefg"));
    CHECK(name_of(trade.instrument) == "0123456789abcdef");
}
