#include "klineagg/symbol_table.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

TEST_CASE("ids are dense from 0, stable and never reused", "[symbol_table]") {
    SymbolTable table;
    CHECK(table.size() == 0);
    CHECK_FALSE(table.find("A").has_value());
    for (int i = 0; i < 5'000; ++i) REQUIRE(table.intern("S" + std::to_string(i)) == i);
    for (int i = 4'999; i >= 0; --i) {
        const std::string name = "S" + std::to_string(i);
        REQUIRE(table.intern(name) == i);
        REQUIRE(table.find(name) == i);
        REQUIRE(table.name(i) == name);
    }
    CHECK(table.size() == 5'000);
    CHECK_FALSE(table.find("s1").has_value());  // names are bytes: case counts
}

TEST_CASE("ids that were never given out have no name", "[symbol_table]") {
    SymbolTable table;
    (void)table.intern("X");
    for (const std::int32_t id : {-1, 1, 2, 2'147'483'647, -2'147'483'647 - 1})
        CHECK(table.name(id).empty());
}

TEST_CASE("any bytes are a name, up to the limit", "[symbol_table]") {
    SymbolTable table;
    const std::string with_zero("A\0B", 3);
    CHECK(table.intern(with_zero) == 0);
    CHECK(table.intern("A") == 1);
    CHECK(table.name(0) == with_zero);
    CHECK(table.intern("\xE4\xB8\xAD") == 2);
    const std::string longest(SYMBOL_NAME_MAX, 'x');
    CHECK(table.intern(longest) == 3);
    const Error too_long = error_of([&] { (void)table.intern(longest + "x"); });
    CHECK(too_long.code() == ErrorCode::unknown_symbol);
    CHECK(field_of(too_long, "name").size() <= SYMBOL_NAME_MAX);
    CHECK(error_of([&] { (void)table.intern(""); }).code() == ErrorCode::unknown_symbol);
    CHECK(table.size() == 4);
    // The name is copied: what the caller does with its memory later changes nothing.
    std::string name = "temporary";
    const std::int32_t id = table.intern(name);
    name = "overwrite";
    CHECK(table.name(id) == "temporary");
    CHECK(table.find("temporary") == id);
}

TEST_CASE("threads that intern the same names agree on their ids", "[symbol_table]") {
    SymbolTable table;
    constexpr int THREADS = 4;
    constexpr int NAMES = 2'000;
    std::vector<std::vector<std::int32_t>> ids(THREADS, std::vector<std::int32_t>(NAMES, -1));
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < THREADS; ++thread) {
        threads.emplace_back([&, thread] {
            for (int i = 0; i < NAMES; ++i) {
                const int name = thread % 2 == 0 ? i : NAMES - 1 - i;
                const std::int32_t id = table.intern("N" + std::to_string(name));
                ids[static_cast<std::size_t>(thread)][static_cast<std::size_t>(name)] = id;
                // What was given out can be read at once, while others go on adding.
                if (table.name(id) != "N" + std::to_string(name)) ++wrong;
                if (table.size() <= static_cast<std::size_t>(id)) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(table.size() == NAMES);
    std::vector<bool> given(NAMES, false);
    for (const std::int32_t id : ids[0]) given.at(static_cast<std::size_t>(id)) = true;
    CHECK(given == std::vector<bool>(NAMES, true));
    for (const auto& other : ids) CHECK(other == ids[0]);
}

TEST_CASE("the process has one table", "[symbol_table]") {
    const std::int32_t id = symbol_table().intern("one table");
    CHECK(symbol_table().intern("one table") == id);
    CHECK(symbol_table().name(id) == "one table");
}
