// Shows that the Boost headers that the build found are usable, from the system or a package.
#include <boost/lockfree/spsc_queue.hpp>
#include <thread>

#include "catch.hpp"

TEST_CASE("Boost.Lockfree hands values from one thread to another in order", "[boost]") {
    boost::lockfree::spsc_queue<int, boost::lockfree::capacity<64>> queue;
    constexpr int COUNT = 100'000;
    std::thread producer([&queue] {
        for (int value = 0; value < COUNT; ++value) {
            while (!queue.push(value)) std::this_thread::yield();
        }
    });
    int misplaced = 0;
    for (int expected = 0; expected < COUNT; ++expected) {
        int value = -1;
        while (!queue.pop(value)) std::this_thread::yield();
        misplaced += value != expected;
    }
    producer.join();
    REQUIRE(misplaced == 0);
    REQUIRE(queue.empty());
}
