#include "klineagg/engine/spare_blocks.hpp"

#include <atomic>
#include <cstring>
#include <deque>
#include <set>
#include <thread>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::BlockStore;
using engine::SpareBlocks;

TEST_CASE("a worker takes and gives blocks while the keeper makes more", "[blocks]") {
    BlockStore store;
    SpareBlocks& pool = store.lend();
    std::atomic<bool> working{true};
    std::thread keeper([&] {
        while (working.load()) {
            if (!store.refill()) std::this_thread::yield();
        }
    });
    Rng rng(611);
    std::deque<unsigned char*> held;
    std::set<void*> seen;
    for (int i = 0; i < 200'000; ++i) {
        if (held.size() < 20'000 && chance(rng, 60)) {
            auto* const block = static_cast<unsigned char*>(pool.take());
            if (reinterpret_cast<std::uintptr_t>(block) % BlockPool::BLOCK_ALIGN != 0)
                FAIL("a block is not aligned");
            std::memset(block, static_cast<int>(held.size() % 251), BlockPool::BLOCK_BYTES);
            block[0] = 77;
            seen.insert(block);
            held.push_back(block);
        } else if (!held.empty()) {
            // Nobody else had it meanwhile.
            if (held.front()[0] != 77 ||
                held.front()[1] != held.front()[BlockPool::BLOCK_BYTES - 1])
                FAIL("somebody wrote into a block that was taken");
            pool.give(held.front());
            held.pop_front();
        }
    }
    working.store(false);
    keeper.join();
    CHECK(store.bytes() >= seen.size() * BlockPool::BLOCK_BYTES);
    CHECK(store.bytes() < 4 * seen.size() * BlockPool::BLOCK_BYTES + (std::size_t{64} << 20U));
    store.take_back(pool);
    CHECK(&store.lend() == &pool);
    CHECK(&store.lend() != &pool);
}
