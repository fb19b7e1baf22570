// What the whole process shares, in a child that was forked while other threads were at it.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "klineagg/arena.hpp"
#include "klineagg/detail/huge_pool.hpp"
#include "klineagg/symbol_table.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr std::size_t PIECE_BYTES = 640;
constexpr std::size_t BLOCK_BYTES = std::size_t{8} << 20;

/// Once through every lock of the process, most of the time with the lock held.
void use_all(const std::string& name) {
    void* const piece = detail::huge_take(PIECE_BYTES);
    detail::huge_give(piece, PIECE_BYTES);
    { const Arena block(BLOCK_BYTES); }
    const std::int32_t id = symbol_table().intern(name);
    if (symbol_table().name(id) != name) std::abort();
}

}  // namespace

TEST_CASE("a forked child never waits for a thread that it does not have", "[fork]") {
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (int thread = 0; thread < 3; ++thread) {
        others.emplace_back([&over, thread] {
            for (int turn = 0; !over.load(std::memory_order_relaxed); ++turn)
                use_all("FORK" + std::to_string(thread) + "." + std::to_string(turn % 1'000));
        });
    }
    int whole = 0;
    constexpr int CHILDREN = 300;
    for (int child = 0; child < CHILDREN; ++child) {
        const pid_t process = ::fork();
        REQUIRE(process >= 0);
        if (process == 0) {
            (void)::alarm(20);  // ends a child that waits
            for (int turn = 0; turn < 3; ++turn) use_all("CHILD" + std::to_string(turn));
            ::_exit(7);
        }
        int status = 0;
        REQUIRE(::waitpid(process, &status, 0) == process);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) break;
        ++whole;
    }
    over = true;
    for (std::thread& thread : others) thread.join();
    CHECK(whole == CHILDREN);
}
