#include "klineagg/arrow_type.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "catch.hpp"

using namespace klineagg::arrow;

namespace {

std::string name_of(const char* format, Schema* dictionary = nullptr) {
    Schema schema;
    schema.format = format;
    schema.dictionary = dictionary;
    return type_name(schema);
}

}  // namespace

TEST_CASE("integers and floats have a width and a sign", "[arrow_type]") {
    CHECK(parse_type("c").bits == 8);
    CHECK(parse_type("c").is_signed);
    CHECK(parse_type("L").bits == 64);
    CHECK_FALSE(parse_type("L").is_signed);
    CHECK(parse_type("e").kind == Kind::floating);
    CHECK(parse_type("e").bits == 16);
    CHECK(parse_type("g").bits == 64);
}

TEST_CASE("times have a unit, stamps a zone", "[arrow_type]") {
    const Type stamp = parse_type("tsu:America/New_York");
    CHECK(stamp.kind == Kind::timestamp);
    CHECK(stamp.unit == 'u');
    CHECK(stamp.time_zone == "America/New_York");
    CHECK(parse_type("tsn:").time_zone.empty());
    CHECK(parse_type("tdD").bits == 32);
    CHECK(parse_type("tdm").bits == 64);
    CHECK(parse_type("ttm").bits == 32);
    CHECK(parse_type("ttu").bits == 64);
    CHECK(parse_type("tDs").kind == Kind::duration);
}

TEST_CASE("decimals have a scale and a width", "[arrow_type]") {
    CHECK(parse_type("d:19,10").bits == 128);
    CHECK(parse_type("d:19,10").scale == 10);
    CHECK(parse_type("d:9,-2,32").scale == -2);
    CHECK(parse_type("d:76,0,256").bits == 256);
}

TEST_CASE("text of every layout", "[arrow_type]") {
    CHECK(parse_type("u").bits == 32);
    CHECK(parse_type("Z").bits == 64);
    CHECK(parse_type("vu").kind == Kind::text_view);
    CHECK(parse_type("w:42").width == 42);
}

TEST_CASE("a format that is not understood is another type, never a wrong one", "[arrow_type]") {
    for (const char* format :
         {"", "x", "uu", "ts", "tsn", "tsx:", "tdX", "tiM", "tt", "t", "d:", "d:9", "d:9,x",
          "d:9,2,33", "d:9,2,", "w:", "w:-1", "w:1x", "+", "+w:3", "+ud:0,1", "+m", "+r", "vx"}) {
        INFO(format);
        CHECK(parse_type(format).kind == Kind::other);
    }
}

TEST_CASE("types have names for messages", "[arrow_type]") {
    CHECK(name_of("L") == "uint64");
    CHECK(name_of("tsm:UTC") == "timestamp[ms, UTC]");
    CHECK(name_of("tsn:") == "timestamp[ns]");
    CHECK(name_of("vz") == "binary");
    CHECK(name_of("+r") == "run-end encoded");
    CHECK(name_of("?!") == "the Arrow type '?!'");
    CHECK(name_of(nullptr) == "the Arrow type ''");
    Schema values;
    values.format = "u";
    CHECK(name_of("i", &values) == "dictionary<string>");
}

TEST_CASE("an owner releases once", "[arrow_c]") {
    static int released = 0;
    released = 0;
    Array raw;
    raw.release = [](Array* array) {
        ++released;
        array->release = nullptr;
    };
    {
        auto first = Owned<Array>::move_from(raw);
        CHECK(raw.release == nullptr);
        CHECK(first.filled());
        auto second = std::move(first);
        CHECK(second.filled());
        Owned<Array> third;
        third = std::move(second);
        CHECK(third.filled());
        CHECK(released == 0);
        third.reset();
        third.reset();
        CHECK_FALSE(third.filled());
        CHECK(released == 1);
    }
    CHECK(released == 1);
}
