#include "klineagg/detail/printable.hpp"

#include <string>

#include "catch.hpp"

using klineagg::detail::printable;

TEST_CASE("bytes from outside become text that can be shown", "[printable]") {
    constexpr std::size_t MAX = 60;
    CHECK(printable("", MAX).empty());
    CHECK(printable("1m", MAX) == "1m");
    CHECK(printable("\xef\xbc\x91m", MAX) == "\xef\xbc\x91m");  // a wide digit stays readable
    CHECK(printable("\xc3\xa9 \xf0\x9f\x98\x80", MAX) == "\xc3\xa9 \xf0\x9f\x98\x80");
    CHECK(printable(std::string("a\0b\x1b[31m\x7f\r\n", 11), MAX) == "a?b?[31m???");
    CHECK(printable("\xc2\x85\xc2\xa0", MAX) == "??\xc2\xa0");       // a control of two bytes
    CHECK(printable("\xff\x80\xc3", MAX) == "???");                   // no UTF-8
    CHECK(printable("\xc0\xaf\xe0\x80\xaf", MAX) == "?????");         // longer than need be
    CHECK(printable("\xed\xa0\x80", MAX) == "???");                   // half of a pair
    CHECK(printable("\xf4\x90\x80\x80", MAX) == "????");              // beyond the last
    CHECK(printable("12345", 5) == "12345");
    CHECK(printable("123456", 5) == "12345...");
    CHECK(printable("1234\xc3\xa9", 5) == "1234...");  // no half of a character
}
