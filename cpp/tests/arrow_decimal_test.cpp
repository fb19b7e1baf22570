#include "klineagg/arrow_decimal.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "catch.hpp"

using klineagg::arrow::decimal_to_double;

namespace {

using Int128 = std::array<std::uint64_t, 2>;

// Two's complement of a 64-bit value in 128 bits.
Int128 wide(std::int64_t value) {
    return {static_cast<std::uint64_t>(value), value < 0 ? ~std::uint64_t{0} : 0};
}

double from(std::int64_t value, std::int32_t scale) {
    const Int128 number = wide(value);
    return decimal_to_double(number.data(), 16, scale);
}

}  // namespace

TEST_CASE("decimals are the float nearest to their digits", "[arrow_decimal]") {
    CHECK(from(0, 5) == 0.0);
    CHECK_FALSE(std::signbit(from(0, 5)));
    CHECK(from(1, 1) == 0.1);
    CHECK(from(-123456789, 4) == -12345.6789);
    CHECK(from(5, -3) == 5000.0);
    CHECK(from(9007199254740993, 0) == 9007199254740992.0);  // halfway: to even
    CHECK(from(9007199254740995, 0) == 9007199254740996.0);
    CHECK(from(INT64_MIN, 0) == -0x1p63);
    CHECK(from(INT64_MAX, 18) == 9.223372036854775807);
    CHECK(from(1, 400) == 0.0);
    CHECK(std::isinf(from(1, -400)));
}

TEST_CASE("narrow and wide decimals", "[arrow_decimal]") {
    const std::int32_t narrow = -12345;
    CHECK(decimal_to_double(&narrow, 4, 2) == -123.45);
    const std::int64_t middle = 42;
    CHECK(decimal_to_double(&middle, 8, 1) == 4.2);
    std::array<std::uint64_t, 4> wide256{};
    wide256[3] = std::uint64_t{1} << 63;  // -2^255
    CHECK(decimal_to_double(wide256.data(), 32, 0) == -0x1p255);
    const Int128 most{~std::uint64_t{0}, ~std::uint64_t{0} >> 1};  // 2^127 - 1
    const char* digits = "1.70141183460469231731687303715884105727";
    CHECK(decimal_to_double(most.data(), 16, 38) == std::strtod(digits, nullptr));
}

TEST_CASE("zeros at the end change nothing", "[arrow_decimal]") {
    std::int64_t value = 4'213'577;
    for (std::int32_t scale = 5; scale <= 16; ++scale, value *= 10) {
        CHECK(from(value, scale) == 42.13577);
    }
}

TEST_CASE("random decimals agree with the C library", "[arrow_decimal]") {
    std::mt19937_64 random(11);
    for (int i = 0; i < 50'000; ++i) {
        const auto value = static_cast<std::int64_t>(random()) >> (random() % 63);
        const auto scale = static_cast<std::int32_t>(random() % 40) - 5;
        const std::string text = std::to_string(value) + "e" + std::to_string(-scale);
        REQUIRE(from(value, scale) == std::strtod(text.c_str(), nullptr));
    }
}
