#include "klineagg/engine/spare_blocks.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <deque>
#include <set>
#include <thread>
#include <vector>

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

TEST_CASE("blocks that came back in any order are taken in that of their addresses", "[blocks]") {
    BlockStore store;
    SpareBlocks& pool = store.lend();
    Rng rng(613);
    std::vector<std::byte*> held;
    for (int i = 0; i < 20'000; ++i) {
        if (i % 100 == 0) (void)store.refill();
        held.push_back(static_cast<std::byte*>(pool.take()));
    }
    std::shuffle(held.begin(), held.end(), rng);
    for (std::byte* const block : held) pool.give(block);
    std::size_t behind = 0;
    std::byte* last = nullptr;
    std::set<std::byte*> taken;
    for (std::size_t i = 0; i < held.size(); ++i) {
        auto* const block = static_cast<std::byte*>(pool.take());
        if (block == last + BlockPool::BLOCK_BYTES) ++behind;
        last = block;
        taken.insert(block);
    }
    CHECK(taken.size() == held.size());
    CHECK(behind > held.size() * 9 / 10);
}

TEST_CASE("blocks that moved to another pool are used there, and nobody has one twice", "[blocks]") {
    BlockStore store;
    SpareBlocks* const pools[] = {&store.lend(), &store.lend()};
    Rng rng(614);
    std::vector<std::byte*> held;
    std::set<std::byte*> held_now;
    for (int i = 0; i < 100'000; ++i) {
        if (i % 100 == 0) (void)store.refill();
        SpareBlocks& pool = *pools[rng() % 2];
        if (held.size() < 3'000 && chance(rng, 55)) {
            held.push_back(static_cast<std::byte*>(pool.take()));
            if (!held_now.insert(held.back()).second) FAIL("a block was taken twice");
        } else if (!held.empty()) {
            std::swap(held[rng() % held.size()], held.back());
            held_now.erase(held.back());
            pool.give(held.back());
            held.pop_back();
        }
    }
    // Without those that came from the other one each pool would have had to grow all the time.
    CHECK(store.bytes() < std::size_t{16} << 20U);
    CHECK(store.misses() < 100);
}
