#include "klineagg/factorize.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "catch.hpp"

using klineagg::Factorizer;

TEST_CASE("codes count distinct texts in the order of appearance", "[factorize]") {
    Factorizer factorizer;
    CHECK(factorizer.code_of("b") == 0);
    CHECK(factorizer.code_of("a") == 1);
    CHECK(factorizer.code_of("b") == 0);
    CHECK(factorizer.code_of("") == 2);
    CHECK(factorizer.code_of({}) == 2);
    REQUIRE(factorizer.size() == 3);
    CHECK(factorizer.name(0) == "b");
    CHECK(factorizer.name(2).empty());
}

TEST_CASE("texts that share most of their bytes stay apart", "[factorize]") {
    // The key of a short text is put together from overlapping pieces of it.
    Factorizer factorizer;
    std::int32_t next = 0;
    for (std::size_t size = 1; size < 40; ++size) {
        for (std::size_t place = 0; place < size; ++place) {
            std::string text(size, 'x');
            text[place] = 'y';
            REQUIRE(factorizer.code_of(text) == next);
            REQUIRE(factorizer.code_of(text) == next);
            ++next;
        }
        std::string zeros(size, '\0');
        REQUIRE(factorizer.code_of(zeros) == next++);
    }
}

TEST_CASE("the codes are those of a map", "[factorize]") {
    std::mt19937_64 random(7);
    std::unordered_map<std::string, std::int32_t> expected;
    Factorizer factorizer;
    for (int i = 0; i < 200'000; ++i) {
        std::string text(random() % 24, ' ');
        for (char& letter : text) letter = static_cast<char>('a' + random() % 3);
        const auto code = static_cast<std::int32_t>(expected.size());
        const auto [known, added] = expected.emplace(text, code);
        REQUIRE(factorizer.code_of(text) == known->second);
    }
    REQUIRE(factorizer.size() == expected.size());
    for (const auto& [text, code] : expected) {
        REQUIRE(factorizer.name(static_cast<std::size_t>(code)) == text);
    }
}
