#include "klineagg/engine/keeper.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "catch.hpp"

using namespace klineagg;
using engine::Keeper;

namespace {

/// Whose turns there were, and whether two were ever at work at once.
struct Turns {
    std::thread::id own = std::this_thread::get_id();
    std::atomic<int> of_caller{0};
    std::atomic<int> of_keeper{0};
    std::atomic<bool> at_work{false};
    std::atomic<bool> overlapped{false};

    bool operator()() {
        if (at_work.exchange(true)) overlapped.store(true);
        ++(std::this_thread::get_id() == own ? of_caller : of_keeper);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        at_work.store(false);
        return false;
    }
};

}  // namespace

TEST_CASE("who waits for a keeper that comes late takes its turn", "[keeper]") {
    Turns turns;
    Keeper keeper;
    keeper.set_turn([&turns] { return turns(); });
    keeper.help();  // nobody runs yet
    CHECK(turns.of_caller.load() == 1);

    keeper.start([] {}, [] { return false; }, [](const char*) {});
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    // With nothing to do it comes every 20 ms only.
    while ((turns.of_caller.load() < 20 || turns.of_keeper.load() < 20) &&
           std::chrono::steady_clock::now() < until)
        keeper.help();
    keeper.stop();
    CHECK(turns.of_caller.load() >= 20);
    CHECK(turns.of_keeper.load() >= 20);
    CHECK_FALSE(turns.overlapped.load());
}
